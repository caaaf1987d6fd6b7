# shellcheck shell=bash
# JMeter from Maven Central, laid out as the home folder it expects.

JMETER_VERSION=5.6.3
JMETER_FOLDER=$CACHE/jmeter-$JMETER_VERSION-2
JMETER_HOME_FOLDER=$JMETER_FOLDER/home

provision_jmeter() {
  [ -d "$JMETER_FOLDER" ] || require_tools java mvn
  require_tools java
  provision_into "$JMETER_FOLDER" jmeter build_jmeter
}

build_jmeter() {
  local group=org.apache.jmeter home=$1/home
  mkdir -p "$home"/{bin,lib/ext,lib/junit}
  maven_pom "$1/pom.xml" "$group:ApacheJMeter:$JMETER_VERSION" "$group:ApacheJMeter_http:$JMETER_VERSION" \
    "$group:ApacheJMeter_java:$JMETER_VERSION" "$group:ApacheJMeter_functions:$JMETER_VERSION"
  maven_copy "$1/pom.xml" "$home/lib"
  mv "$home/lib/ApacheJMeter_"*.jar "$home/lib/ext/"
  mv "$home/lib/ApacheJMeter-$JMETER_VERSION.jar" "$home/bin/ApacheJMeter.jar"
  maven_unpack "$1/pom.xml" "$group:ApacheJMeter_config:$JMETER_VERSION" "$home"
  sed -i 's/status="WARN"/status="ERROR"/' "$home/bin/log4j2.xml" # it warns about itself, four times a start
}
