//! Twenty buyers for every unit, over REST, with duplicates, cancels, declines, unknowns and time-outs mixed in.

use std::sync::Arc;

use loadtest::driver::Progress;

use super::crowd::{adds_up, buyers, left_content, of_every_kind, sale};
use crate::support::process::ServeSettings;
use crate::support::servers::Servers;
use crate::support::shop::{Shop, visit};
use crate::support::{seed, unique};

const BUYERS: usize = 1_200;
const BUYERS_A_UNIT: usize = 20;

#[tokio::test]
async fn a_hot_item_is_sold_to_the_unit_on_the_embedded_stack() {
    let folder = tempfile::tempdir().unwrap();
    sold_to_the_unit(&ServeSettings::embedded(folder.path())).await;
}

#[tokio::test]
async fn a_hot_item_is_sold_to_the_unit_on_real_servers() {
    let Some(servers) = Servers::from_environment() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    sold_to_the_unit(&servers.serve(folder.path())).await;
}

async fn sold_to_the_unit(settings: &ServeSettings) {
    let seed = seed();
    let server = settings.start().await;
    let buyers = buyers(BUYERS);
    let units = u32::try_from(buyers / BUYERS_A_UNIT).expect("not too many");
    let shop = Shop::open_for(&server, &sale(&unique("hot"), units)).await;
    let crowd = of_every_kind(&shop, buyers, seed);
    let report = visit(crowd, Arc::new(Progress::default())).await;
    left_content(&report);
    adds_up(&shop, &report, units).await;
}
