//! A follower that stops reading is cut off, while everybody else goes on being served. What waits for it is bounded all the time.

use std::net::SocketAddr;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::support::PATIENCE;
use crate::support::listener::Listener;
use crate::support::process::{ServeSettings, Server};
use crate::support::shop::{Shop, seed};

/// Products, so that an event on what is left is of 7 KB.
const PRODUCTS: usize = 100;
/// What the system keeps for a connection in this direction, so that it is full after a few events.
const SMALL_SEGMENT_BYTES: u32 = 536;
const SMALL_WINDOW_BYTES: u32 = 2_048;
/// What may lie between the server and a client that does not read: in the server's process, and in the system for both sides.
const WAITING_BYTES_MAX: usize = 512 * 1024;

#[tokio::test]
async fn a_follower_that_stops_reading_is_cut_off_while_others_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = ServeSettings::embedded(folder.path()).with("HOLDFAST_STALLED_MAX", "1s");
    let server = settings.start().await;
    let shop = Shop::open_for(&server, &wordy()).await;
    let mut attentive = Listener::of(&shop.buyers, "drop").await;
    let mut stalled = follows_and_stops_reading(&server).await;
    assert!(is_connected(&server, &stalled), "it has just been served");

    let (begun, mut left) = (Instant::now(), shop.stock_left().await);
    while is_connected(&server, &stalled) {
        assert!(begun.elapsed() < PATIENCE, "it is never cut off");
        shop.bought("k", "tok-1").await;
        left -= 1;
        hears_of(&mut attentive, left).await;
    }
    println!("cut off after {:?}", begun.elapsed());
    // Nobody else noticed anything.
    shop.bought("k", "tok-1").await;
    hears_of(&mut attentive, left - 1).await;
    assert_eq!(
        Listener::of(&shop.buyers, "drop").await.state().await.1,
        "open"
    );
    let waited = timeout(PATIENCE, what_is_left_of(&mut stalled)).await;
    let waited = waited.expect("the connection's end");
    println!("{waited} bytes had waited");
    assert!((1..WAITING_BYTES_MAX).contains(&waited), "{waited} bytes");
}

/// A sale of which there is much to tell.
fn wordy() -> Value {
    let mut sale = seed("drop", 1_000, 1_000);
    let products = sale["products"].as_array_mut().expect("a list");
    for number in 1..PRODUCTS {
        let mut product = products[0].clone();
        product["product"] = json!(format!("z{number:0>39}"));
        products.push(product);
    }
    sale
}

/// Hears that so much is left of the first product.
async fn hears_of(follower: &mut Listener, left: u64) {
    loop {
        let heard = follower.event("stock").await;
        if heard.data["products"][0]["stock_left"] == left {
            return;
        }
    }
}

async fn follows_and_stops_reading(server: &Server) -> TcpStream {
    let address: SocketAddr = server
        .buyers
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(SMALL_WINDOW_BYTES)
        .expect("set");
    SockRef::from(&socket)
        .set_tcp_mss(SMALL_SEGMENT_BYTES)
        .expect("set");
    let mut stream = socket.connect(address).await.expect("a connection");
    let head = format!("GET /v1/sales/drop/events HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

/// Whether the server still has its side of this connection, by the system's table (`proc_net(5)`): one that it has closed belongs to
/// no process.
fn is_connected(server: &Server, client: &TcpStream) -> bool {
    let client = client.local_addr().expect("an address").port();
    let server_port = server
        .buyers
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let server_port: u16 = server_port.expect("a port");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the system's table");
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |field: &str| {
            let port = field
                .rsplit(':')
                .next()
                .map(|port| u16::from_str_radix(port, 16));
            port.and_then(Result::ok)
        };
        port(fields[1]) == Some(server_port) && port(fields[2]) == Some(client) && fields[9] != "0"
    })
}

/// How many bytes come before the connection's end.
async fn what_is_left_of(stream: &mut TcpStream) -> usize {
    let mut bytes = [0; 4_096];
    let mut all = 0;
    // An end by a reset is an end as well.
    while let Ok(some @ 1..) = stream.read(&mut bytes).await {
        all += some;
    }
    all
}
