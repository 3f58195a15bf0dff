//! nginx with the files of `deploy/examples/nginx`: it knows nothing of Taskpass but two files, and refuses what has ended.

use rcgen::{CertificateParams, KeyPair};
use std::{net::SocketAddr, process::Command};
use taskpass_e2e::{
    Broker, Client, Settings, Signed, World, certificate,
    resource::{Answer, Caller, signed},
    start, until,
};
use taskpass_servers::Nginx;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/nginx");

async fn certify(agent: &Client, task: &str) -> Signed {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let (_, chain) = agent.issue_certificate(certificate(task, csr)).await.unwrap();
    signed(&chain, &key)
}

/// Brings the two files of `directory` up to date, and then does what `then` says; `None`: they are not to be had.
fn fetch(world: &World, directory: &std::path::Path, then: &[String]) -> Option<()> {
    let mut script = Command::new(format!("{EXAMPLE}/../taskpass-lists"));
    script.arg(format!("http://{}", world.http())).arg(directory.join("taskpass")).args(then);
    let output = script.output().unwrap();
    output.status.success().then_some(())
}

/// An nginx with the example's files, and with the lists as they are now.
async fn serve(world: &World) -> Nginx {
    let own = world.authority.server([127, 0, 0, 1].into());
    let example = std::fs::read_to_string(format!("{EXAMPLE}/taskpass.conf")).unwrap();
    let directory = Nginx::directory(&[
        ("server.pem", &own.chain_pem),
        ("server.key", &own.key_pem),
        ("taskpass.conf", &example),
        ("taskpass/.keep", ""),
    ]);
    until("the lists are there", async || fetch(world, directory.path(), &["true".to_owned()])).await;
    let server = "ssl_certificate server.pem;\nssl_certificate_key server.key;\ninclude taskpass.conf;\n\
                  location / { return 200 \"$ssl_client_verify $ssl_client_serial\"; }";
    Nginx::start(directory, server).await
}

/// A fresh connection, and one question.
async fn ask(world: &World, nginx: &Nginx, client: &Signed) -> Answer {
    let address = SocketAddr::from(([127, 0, 0, 1], nginx.port()));
    let caller = Caller::certified(address, &world.authority.pem(), &client.chain_pem, &client.key_pem).await;
    caller.unwrap().get("/", None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_refused_when_its_task_has_ended() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let nginx = serve(&world).await;

    let agent = world.connect("dev/bot").await;
    let (task, other) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    let (leaf, beside) = (certify(&agent, &task.id).await, certify(&agent, &other.id).await);
    for client in [&leaf, &beside] {
        let answer = ask(&world, &nginx, client).await;
        assert!(answer.is_ok() && answer.text.starts_with("SUCCESS 01"), "{answer:?}\n{}", nginx.log());
    }
    // Of an authority that the broker does not have.
    let stranger = ask(&world, &nginx, &world.authority.svid("dev/bot")).await;
    assert_eq!(stranger.status, 400, "{stranger:?}");

    agent.complete(&task.id).await.unwrap();
    let refused = until("nginx refuses", async || {
        fetch(&world, nginx.path(), &nginx.reload())?;
        let answer = ask(&world, &nginx, &leaf).await;
        (!answer.is_ok()).then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(nginx.log().contains("certificate revoked"), "{}", nginx.log());
    let answer = ask(&world, &nginx, &beside).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", nginx.log());
    broker.assert_well(&world).await;
    nginx.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_too_old_let_nobody_in() {
    let world = World::with(Settings { more: "[channels]\ncrl_validity = \"15s\"\n", ..Settings::default() });
    let broker = Broker::start(&world).await;
    let nginx = serve(&world).await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(start()).await.unwrap();
    let leaf = certify(&agent, &task.id).await;
    assert!(ask(&world, &nginx, &leaf).await.is_ok(), "{}", nginx.log());
    // Nobody fetches any more, as if the broker could not be reached.
    until("the list is too old", async || (!ask(&world, &nginx, &leaf).await.is_ok()).then_some(())).await;
    assert!(nginx.log().contains("CRL has expired"), "{}", nginx.log());
    assert!(fetch(&world, nginx.path(), &nginx.reload()).is_some());
    until("a newer list is in force", async || ask(&world, &nginx, &leaf).await.is_ok().then_some(())).await;
    broker.kill();
    assert_eq!(fetch(&world, nginx.path(), &nginx.reload()), None, "nobody answers");
    // While an old worker ends, it may take a connection still.
    until("what was fetched stays", async || ask(&world, &nginx, &leaf).await.is_ok().then_some(())).await;
    nginx.stop().await;
}
