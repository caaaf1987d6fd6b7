# shellcheck shell=bash
# Kafka from Maven Central: one KRaft node that is broker and controller.

KAFKA_VERSION=4.1.0
KAFKA_FOLDER=$CACHE/kafka-$KAFKA_VERSION-1

provision_kafka() {
  [ -d "$KAFKA_FOLDER" ] || require_tools java mvn
  require_tools java
  provision_into "$KAFKA_FOLDER" kafka build_kafka
}

build_kafka() {
  maven_pom "$1/pom.xml" "org.apache.kafka:kafka_2.13:$KAFKA_VERSION" org.slf4j:slf4j-simple:1.7.36
  maven_copy "$1/pom.xml" "$1/libs"
}

# exec_kafka PORT DIR [OPTION...]; options as kafka.Kafka takes them (`--override key=value`).
exec_kafka() {
  local port=$1 dir=$2
  shift 2
  if [ ! -f "$dir/server.properties" ]; then
    kafka_properties "$port" "$(free_port)" "$dir" >"$dir/server.properties.new"
    kafka_java kafka.tools.StorageTool format --standalone "--cluster-id=$(kafka_cluster_id)" -c "$dir/server.properties.new"
    mv "$dir/server.properties.new" "$dir/server.properties"
  fi
  grep -q "^listeners=PLAINTEXT://127.0.0.1:$port," "$dir/server.properties" \
    || die "$dir was initialised for another port than $port"
  kafka_java_command
  exec "${COMMAND[@]}" -Xms256m -Xmx512m kafka.Kafka "$dir/server.properties" "$@"
}

kafka_java() {
  kafka_java_command
  "${COMMAND[@]}" -XX:TieredStopAtLevel=1 "$@"
}

# One collector thread: the machine's cores are for what is tested.
kafka_java_command() {
  COMMAND=(java -cp "$KAFKA_FOLDER/libs/*" -XX:+UseSerialGC -Djava.awt.headless=true
    -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS")
}

# 16 random bytes in URL-safe base 64. One of 64 begins with "-", so it is never an argument of its own.
kafka_cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '='; }

# The short session lets a broker that was killed come back in seconds: until it ends, the controller takes the new
# broker for a second one with the same id.
kafka_properties() {
  local port=$1 controller_port=$2 dir=$3
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller_port
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=true
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
PROPERTIES
}

kafka_ready='Kafka Server started'
kafka_url() { printf '127.0.0.1:%s\n' "$1"; }
