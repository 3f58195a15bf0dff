//! A resource server in this process: the one of the demo, which follows the real broker's feed.

use crate::{Broker, Signed, World};
use std::net::{Ipv4Addr, SocketAddr};
pub use taskpass_cli::sandbox::{Answer, Caller, Invoices};

/// Any free loopback port.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Starts one, as `prod/demo-api`.
///
/// # Panics
/// When it cannot start.
pub async fn serve(world: &World, broker: &Broker) -> Invoices {
    let feed = world.connect("prod/demo-api").await;
    let clients = [broker.ca_pem(world).await, world.authority.pem()].concat();
    let own = world.authority.server(Ipv4Addr::LOCALHOST);
    Invoices::start(feed.channel(), [ANY, ANY], &clients, (&own.chain_pem, &own.key_pem)).await.unwrap()
}

/// Asks for the invoices once, over TLS with a certificate if there is one, else in the clear.
///
/// # Panics
/// When nobody answers.
pub async fn ask(world: &World, server: &Invoices, client: Option<&Signed>, token: Option<&str>) -> Answer {
    let mut caller = match client {
        Some(Signed { chain_pem, key_pem }) => {
            Caller::certified(server.https, &world.authority.pem(), chain_pem, key_pem).await.unwrap()
        }
        None => Caller::plain(server.http).await.unwrap(),
    };
    caller.get("/invoices", token).await.unwrap()
}

/// A certificate that the broker issued, as `ask` wants it.
pub fn signed(chain: &[Vec<u8>], key: &rcgen::KeyPair) -> Signed {
    let chain_pem = chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    Signed { chain_pem, key_pem: key.serialize_pem() }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
