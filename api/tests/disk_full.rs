//! A disk that is full: what can't be written is not promised, and what was promised is there when the disk has room again.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::support::process::{ServeSettings, free_port};
use crate::support::shop::Shop;

/// No file of the process grows beyond this: enough to start and to sell for a while (in blocks of 512 bytes).
const BLOCKS_MAX: u32 = 6_000;
/// Buyers at once.
const BUYERS: usize = 32;
/// So many crowds in a row that are all refused mean that the disk is full.
const REFUSED_CROWDS: u32 = 3;
const CROWDS_MAX: u32 = 400;

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServeSettings::embedded(folder.path()).on(free_port(), free_port());
    let server = settings.start_with_files_up_to(BLOCKS_MAX).await;
    let shop = Shop::open(&server, "drop", 100_000, 100_000).await;
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    let mut refusals: BTreeMap<u16, u32> = BTreeMap::new();
    let mut refused_crowds = 0;
    for crowd in 0..CROWDS_MAX {
        let purchases = (0..BUYERS).map(|buyer| {
            let shop = &shop;
            async move {
                let token = shop.token().await;
                let key = format!("{crowd}-{buyer}");
                let answer = shop.try_buy(&token, &key, &shop.order("card")).await;
                (token, answer)
            }
        });
        let before = acknowledged.len();
        for (token, answer) in join_all(purchases).await {
            match answer {
                Ok(answer) if answer.status == 202 => {
                    let id = answer.body["id"].as_str().expect("an id").to_owned();
                    acknowledged.insert(id, token);
                }
                Ok(answer) => *refusals.entry(answer.status).or_default() += 1,
                Err(_) => *refusals.entry(0).or_default() += 1,
            }
        }
        if acknowledged.len() > before {
            refused_crowds = 0;
        } else {
            refused_crowds += 1;
        }
        if refused_crowds == REFUSED_CROWDS {
            break;
        }
    }
    println!("{} acknowledged, refused: {refusals:?}", acknowledged.len());
    assert_eq!(refused_crowds, REFUSED_CROWDS, "the disk was never full");
    assert!(!acknowledged.is_empty(), "nothing was ever sold");
    assert_eq!(
        refusals.keys().filter(|status| **status != 503).count(),
        0,
        "whoever is refused is told to come again: {refusals:?}"
    );
    server.process.kill().await;
    let server = settings.start().await;
    let shop = shop.moved_to(&server);
    for (id, token) in &acknowledged {
        let purchase = shop.settled(token, id).await;
        assert_eq!(purchase["state"], "COMPLETED", "{purchase}");
    }
    shop.quiet().await;
    shop.verify_in_the_end().await;
}
