//! The signing keys of a fleet whose ledger lost something.

use taskpass_e2e::{Broker, Settings, World, resource, start, token, until};
use taskpass_servers::{Kind, Options, Proxy, Server};

/// While a broker is cut off, another makes the ledger whole, with new keys. Whatever the first grants from the moment at
/// which it is back is good.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_missed_a_loss_signs_with_the_new_keys() {
    let server = Server::start(Kind::Redis, Options::default()).await;
    let link = Proxy::start(server.port()).await;
    let ledger = |port: u16| format!("[store.redis]\naddress = \"127.0.0.1:{port}\"\n");
    let (direct, linked) = (ledger(server.port()), ledger(link.port()));
    let first = World::with(Settings { more: &direct, ..Settings::default() });
    let second = first.beside(Settings { more: &linked, ..Settings::default() });
    let brokers = [Broker::start(&first).await, Broker::start(&second).await];
    let verifiers = [resource::serve(&first, &brokers[0]).await, resource::serve(&second, &brokers[1]).await];
    let (one, two) = (first.connect_local().await, second.connect_local().await);
    for _ in 0..3 {
        link.cut();
        server.command(&["FLUSHALL"]).await;
        let whole = async || {
            let task = one.start_task(start()).await.ok()?;
            one.issue_token(token(&task.id)).await.ok()
        };
        let (_, new) = until("one makes it whole", whole).await;
        link.heal();
        let task = until("the other starts tasks again", async || two.start_task(start()).await.ok()).await;
        let (_, jwt) =
            until("the other grants again", async || two.issue_token(token(&task.id)).await.ok()).await;
        for verifier in &verifiers {
            until("it has the new keys", async || verifier.verifier.verify_token(&new).ok()).await;
            verifier.verifier.verify_token(&jwt).unwrap();
        }
    }
    for verifier in verifiers {
        verifier.stop().await;
    }
}
