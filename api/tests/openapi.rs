//! The `OpenAPI` documents describe the routes that there are, all of them and no others, and say what is in every answer. That
//! answers fit the documents is `make test-api`'s business.

use std::collections::BTreeSet;

use reqwest::Client;
use serde_json::{Map, Value, json};

use crate::support::http::{client, client_with, get};
use crate::support::process::ServeSettings;
use crate::support::shop::Shop;

#[tokio::test]
async fn the_operators_document_describes_every_route_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let operator = client_with(&server.operator_token);
    let answer = get(&operator, format!("{}/v1/routes", server.operators)).await;
    let routes = answer.body["routes"].as_array().expect("a table");
    let there: BTreeSet<String> = routes
        .iter()
        .map(|route| format!("{} {}", text(&route["method"]), text(&route["path"])))
        .collect();
    let document = document(&server.operators).await;
    assert_eq!(names(&document), there);
    for route in routes {
        let path = text(&route["path"]);
        let operation = &document["paths"][path][text(&route["method"]).to_lowercase()];
        let is_open = route["role"].is_null();
        assert_eq!(operation["security"] == json!([]), is_open, "{path}");
        for status in ["401", "403"] {
            let is_documented = operation["responses"][status].is_object();
            assert_eq!(is_documented, !is_open, "{status} of {path}");
        }
    }
}

#[tokio::test]
async fn the_buyers_document_describes_every_route_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let source = include_str!("../src/buyers/mod.rs");
    let there: BTreeSet<String> = source
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| {
            let (path, rest) = rest.split_once("\", ")?;
            let (method, _) = rest.split_once('(')?;
            Some(format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    assert!(there.len() > 10, "{there:?}");
    assert_eq!(names(&document(&server.buyers).await), there);
}

#[tokio::test]
async fn the_largest_page_that_a_document_names_is_the_largest_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServeSettings::embedded(folder.path()).start().await;
    let shop = Shop::open(&server, "open", 10, 10).await;
    let buyer = client_with(&shop.token().await);
    let operator = client_with(&server.operator_token);
    let pages =
        pages_of(&buyer, &server.buyers).await + pages_of(&operator, &server.operators).await;
    assert!(pages >= 8, "only {pages} lists have pages");
}

/// Asks each list for its largest page and for one that is larger; how many lists there are.
async fn pages_of(client: &Client, listener: &str) -> usize {
    let document = document(listener).await;
    let mut pages = 0;
    for (name, operation) in operations(&document) {
        let Some(path) = name.strip_prefix("GET ").filter(|path| !path.contains('{')) else {
            continue;
        };
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for limit in parameters.filter(|parameter| parameter["name"] == "limit") {
            let max = limit["schema"]["maximum"].as_u64().expect("a maximum");
            for (limit, status) in [(1, 200), (max, 200), (max + 1, 400)] {
                let answer = get(client, format!("{listener}{path}?limit={limit}")).await;
                assert_eq!(answer.status, status, "{limit} of {path}: {answer:?}");
            }
            pages += 1;
        }
    }
    pages
}

#[test]
fn every_answer_says_what_is_in_it() {
    for document in both() {
        let mut objects = 0;
        for (name, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let response = resolved(&document, response);
                let content = response["content"].as_object();
                for media in content.into_iter().flat_map(Map::values) {
                    let place = format!("{status} of {name}");
                    // What a document holds is for its own standard to say.
                    if name != "GET /openapi.json" || status != "200" {
                        objects += described(&document, &media["schema"], false, &place);
                    }
                }
            }
        }
        assert!(objects > 100, "only {objects} objects");
    }
}

/// Panics unless each object of this schema names its members, says which are always there, and has no others; how many objects
/// there are. `is_closed` when whoever uses the schema says that there are no others.
fn described(document: &Value, schema: &Value, is_closed: bool, place: &str) -> usize {
    let is_closed = is_closed || schema["unevaluatedProperties"] == false;
    if schema["$ref"].is_string() {
        return described(document, resolved(document, schema), is_closed, place);
    }
    let mut objects = 0;
    for parts in ["allOf", "anyOf", "oneOf"] {
        for part in schema[parts].as_array().into_iter().flatten() {
            objects += described(document, part, is_closed, place);
        }
    }
    if !schema["items"].is_null() {
        objects += described(document, &schema["items"], false, place);
    }
    if schema["type"] != "object" {
        return objects;
    }
    if schema["additionalProperties"].is_object() {
        return objects + described(document, &schema["additionalProperties"], false, place);
    }
    let members = schema["properties"].as_object();
    let members = members.unwrap_or_else(|| panic!("{place}: an object without members: {schema}"));
    let always = schema["required"].as_array();
    let always = always.unwrap_or_else(|| panic!("{place}: nothing is required: {schema}"));
    // Whoever checks answers by a schema that contradicts itself may well check nothing.
    assert!(
        always.iter().all(|name| members.contains_key(text(name))),
        "{place}: {schema}"
    );
    assert!(
        is_closed || schema["additionalProperties"] == false,
        "{place}: an object that is not closed: {schema}"
    );
    for (name, member) in members {
        objects += described(document, member, false, &format!("{name} in {place}"));
    }
    objects + 1
}

#[test]
fn every_reference_leads_somewhere_and_nothing_is_left_over() {
    for document in both() {
        let mut references = BTreeSet::new();
        collect_references(&document, &mut references);
        let mut there = BTreeSet::new();
        for kind in ["responses", "schemas"] {
            let components = document["components"][kind]
                .as_object()
                .expect("components");
            there.extend(
                components
                    .keys()
                    .map(|name| format!("#/components/{kind}/{name}")),
            );
        }
        assert_eq!(references, there);
    }
}

fn collect_references(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                references.insert(reference.clone());
            }
            for member in members.values() {
                collect_references(member, references);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_references(item, references);
            }
        }
        _ => {}
    }
}

#[test]
fn every_operation_that_the_settings_of_the_generated_requests_name_exists() {
    let [buyers, operators] = both();
    let there: BTreeSet<String> = operations(&buyers)
        .into_iter()
        .chain(operations(&operators))
        .map(|(_, operation)| text(&operation["operationId"]).to_owned())
        .collect();
    let settings = include_str!("../openapi/schemathesis.toml");
    let lines = settings.lines();
    let lines = lines.filter(|line| line.starts_with("include-operation-id = "));
    let named: Vec<&str> = lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        assert!(there.contains(name), "no operation {name}");
    }
}

fn both() -> [Value; 2] {
    let documents = [
        include_str!("../openapi/buyers.json"),
        include_str!("../openapi/operators.json"),
    ];
    documents.map(|text| serde_json::from_str(text).expect("JSON"))
}

async fn document(listener: &str) -> Value {
    let answer = get(&client(), format!("{listener}/openapi.json")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["openapi"], "3.1.0");
    answer.body
}

fn names(document: &Value) -> BTreeSet<String> {
    let operations = operations(document).into_iter();
    operations.map(|(name, _)| name).collect()
}

/// The operations by name, such as `GET /v1/sales`.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations");
        methods.iter().map(move |(method, operation)| {
            (format!("{} {path}", method.to_uppercase()), operation)
        })
    });
    operations.collect()
}

/// What a reference stands for; everything else stands for itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(pointer) = value["$ref"].as_str() else {
        return value;
    };
    let pointer = pointer.strip_prefix('#').expect("a place in this document");
    let found = document.pointer(pointer);
    found.unwrap_or_else(|| panic!("nothing at {pointer}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
