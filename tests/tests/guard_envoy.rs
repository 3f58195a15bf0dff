//! Envoy with the file of `deploy/examples/envoy`: it asks the guard about every request.

use rcgen::{CertificateParams, KeyPair};
use std::net::SocketAddr;
use taskpass_e2e::{
    Broker, Client, Echo, Guard, Signed, World, certificate,
    resource::{Answer, Caller, signed},
    start, token, until,
};
use taskpass_servers::{Envoy, free_port};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/envoy/envoy.yaml");

async fn certify(agent: &Client, task: &str) -> Signed {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let (_, chain) = agent.issue_certificate(certificate(task, csr)).await.unwrap();
    signed(&chain, &key)
}

/// The example, with the addresses and paths of this test.
async fn serve(world: &World, broker: &Broker, guard: &Guard, echo: &Echo) -> (Envoy, SocketAddr) {
    let port = free_port();
    world.write("ca.pem", &broker.ca_pem(world).await);
    let mut text = std::fs::read_to_string(EXAMPLE).unwrap();
    for (written, here) in [
        ("0.0.0.0, port_value: 8443", format!("127.0.0.1, port_value: {port}")),
        ("port_value: 8080", format!("port_value: {}", echo.address.port())),
        ("/etc/envoy/tls/server.pem", world.path("server-envoy.pem").display().to_string()),
        ("/etc/envoy/tls/server.key", world.path("server-envoy.key").display().to_string()),
        ("/etc/envoy/tls/ca.pem", world.path("ca.pem").display().to_string()),
        ("path: /run/taskpass/guard.sock", format!("path: {}", guard.socket.display())),
    ] {
        assert!(text.contains(written), "{written}");
        text = text.replace(written, &here);
    }
    let own = world.authority.server([127, 0, 0, 1].into());
    world.write("server-envoy.pem", &own.chain_pem);
    world.write("server-envoy.key", &own.key_pem);
    (Envoy::start(&text, port).await, ([127, 0, 0, 1], port).into())
}

async fn connect(world: &World, address: SocketAddr, client: &Signed) -> Caller {
    Caller::certified(address, &world.authority.pem(), &client.chain_pem, &client.key_pem).await.unwrap()
}

async fn ask(world: &World, address: SocketAddr, client: &Signed, token: Option<&str>) -> Answer {
    connect(world, address, client).await.get("/x", token).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_asked_about_and_refused_when_its_task_has_ended() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let (guard, echo) = (Guard::start(&world).await, Echo::start().await);
    let (envoy, at) = serve(&world, &broker, &guard, &echo).await;
    let (bot, rival) = (world.authority.svid("dev/bot"), world.authority.svid("dev/rival"));
    let agent = Client::connect(&world.endpoint(&bot)).await;
    let (task, other) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    // Bound to the certificate of the connection on which it was issued.
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let (leaf, beside) = (certify(&agent, &task.id).await, certify(&agent, &other.id).await);

    let answer = ask(&world, at, &bot, Some(&jwt)).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", envoy.log());
    for fact in ["x-taskpass-agent: dev/bot\r\n", "x-taskpass-actions: invoice:read\r\n"] {
        assert!(answer.text.contains(fact), "{answer:?}");
    }
    let answer = ask(&world, at, &leaf, None).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", envoy.log());
    for (what, client, token) in [
        ("stolen: bound to another certificate", &rival, Some(jwt.as_str())),
        ("a stranger's certificate", &rival, None),
        ("no token at all", &bot, Some("x")),
    ] {
        let answer = ask(&world, at, client, token).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}\n{}", envoy.log());
    }
    until("the lease is in the access log", async || envoy.access_log().contains(&lease.id).then_some(()))
        .await;

    let (mut open, mut certified) = (connect(&world, at, &bot).await, connect(&world, at, &leaf).await);
    assert!(open.get("/", Some(&jwt)).await.unwrap().is_ok());
    assert!(certified.get("/", None).await.unwrap().is_ok());
    agent.complete(&task.id).await.unwrap();
    let refused = until("Envoy refuses the token", async || {
        let answer = open.get("/", Some(&jwt)).await.unwrap();
        (answer.status == 401).then_some(answer.text)
    })
    .await;
    assert!(refused.contains("ended: completed"), "{refused}");
    assert_eq!(certified.get("/", None).await.unwrap().status, 401);
    assert!(ask(&world, at, &beside, None).await.is_ok(), "{}", envoy.log());
    broker.assert_well(&world).await;
    envoy.stop().await;
    guard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_and_without_the_guard_nobody_gets_in() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let (guard, echo) = (Guard::start(&world).await, Echo::start().await);
    let (envoy, at) = serve(&world, &broker, &guard, &echo).await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(start()).await.unwrap();
    let leaf = certify(&agent, &task.id).await;
    assert!(ask(&world, at, &leaf, None).await.is_ok(), "{}", envoy.log());
    broker.kill();
    let refused = until("what cannot be known is refused", async || {
        let answer = ask(&world, at, &leaf, None).await;
        (!answer.is_ok()).then_some(answer.status)
    })
    .await;
    assert_eq!(refused, 503);
    guard.kill().await;
    assert_eq!(ask(&world, at, &leaf, None).await.status, 503);
    envoy.stop().await;
}
