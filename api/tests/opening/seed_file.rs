//! `holdfast seed`: a file of sales, applied by a running server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use super::look;
use crate::support::process::{ServeSettings, Server, run};
use crate::support::shop::Shop;

const SOUND: &str = r#"
[[sales]]
sale = "first"
name = "First"
currency = "KRW"
opens_at = 2020-01-01T00:00:00Z
closes_at = 2100-01-01T00:00:00Z
per_buyer_limit = 1
products = [{ product = "mug", name = "Mug", unit_price = 1, stock = 1 }]

[[sales]]
sale = "second"
name = "Second"
currency = "KRW"
opens_at = 2020-01-01T00:00:00Z
closes_at = 2100-01-01T00:00:00Z
per_buyer_limit = 1
products = [{ product = "mug", name = "Mug", unit_price = 1, stock = 1 }]
"#;

struct Desk {
    folder: tempfile::TempDir,
    server: Server,
    shop: Shop,
}

impl Desk {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ServeSettings::embedded(&folder.path().join("data"))
            .start()
            .await;
        let shop = Shop::at(&server, "first");
        Self {
            folder,
            server,
            shop,
        }
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("drop.toml");
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Runs `holdfast seed`, which ends with this exit code.
    async fn seed(&self, file: &Path, more: &[&str], code: i32) -> Output {
        let variables = [
            ("HOLDFAST_OPERATORS_URL", self.server.operators.as_str()),
            ("HOLDFAST_OPERATOR_TOKEN", self.shop.operator_token()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let file = file.to_str().expect("UTF-8");
        let arguments = [&["seed", file], more].concat();
        let output = run(&arguments, &BTreeMap::from(variables)).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        output
    }

    async fn sales(&self) -> Value {
        let answer = look(&self.shop, "sales").await;
        let names = answer.body["sales"].as_array().expect("a list");
        names.iter().map(|sale| sale["sale"].clone()).collect()
    }
}

fn errors_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_seed_file_is_applied_whole_or_not_at_all() {
    let desk = Desk::open().await;
    // Wrong in its last line: told with its place, before anything is sent.
    let wrong = desk.file(&format!("{SOUND}limit = 1\n"));
    let refused = desk.seed(&wrong, &[], 2).await;
    assert!(
        errors_of(&refused).contains("drop.toml:19: sales[1].limit: unknown field"),
        "{refused:?}"
    );
    assert_eq!(desk.sales().await, json!([]));

    let sound = desk.file(SOUND);
    let checked = desk.seed(&sound, &["--check"], 0).await;
    assert!(
        String::from_utf8_lossy(&checked.stdout).contains("2 sales"),
        "{checked:?}"
    );
    assert_eq!(desk.sales().await, json!([]));
    let created = desk.seed(&sound, &[], 0).await;
    assert_eq!(
        String::from_utf8_lossy(&created.stdout),
        "created    first\ncreated    second\n"
    );
    assert_eq!(desk.sales().await, json!(["first", "second"]));

    // The server says no to one of them: neither is applied.
    let third = SOUND.replace("\"first\"", "\"third\"");
    let conflict = desk.file(&third.replace("name = \"Second\"", "name = \"Another\""));
    let refused = desk.seed(&conflict, &[], 6).await;
    assert!(
        errors_of(&refused).contains("sale second is there already, with other content"),
        "{refused:?}"
    );
    assert_eq!(desk.sales().await, json!(["first", "second"]));

    let grown = desk.file(&third);
    let seeded = desk.seed(&grown, &["-o", "json"], 0).await;
    let seeded: Value = serde_json::from_slice(&seeded.stdout).expect("JSON");
    assert_eq!(
        seeded,
        json!({ "sales": [
            { "sale": "third", "result": "created" }, { "sale": "second", "result": "unchanged" },
        ]})
    );
}

#[tokio::test]
async fn the_example_is_applied_and_can_be_applied_again() {
    let desk = Desk::open().await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/drop.toml");
    let created = desk.seed(&example, &[], 0).await;
    assert_eq!(
        String::from_utf8_lossy(&created.stdout),
        "created    spring-drop\n"
    );
    let again = desk.seed(&example, &[], 0).await;
    assert_eq!(
        String::from_utf8_lossy(&again.stdout),
        "unchanged  spring-drop\n"
    );
    let sale = look(&desk.shop, "sales/spring-drop").await;
    assert_eq!(sale.body["state"], "scheduled", "{sale:?}");
    assert_eq!(sale.body["products"][1]["serials"], "pool", "{sale:?}");
}

#[tokio::test]
async fn without_a_server_a_seed_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drop.toml");
    std::fs::write(&file, SOUND).unwrap();
    let variables = [
        ("HOLDFAST_OPERATORS_URL", "http://127.0.0.1:1"),
        ("HOLDFAST_OPERATOR_TOKEN", "a-token"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let output = run(
        &["seed", file.to_str().expect("UTF-8")],
        &BTreeMap::from(variables),
    )
    .await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}
