//! nginx with the files of `deploy/examples/nginx-guard`: it asks the guard about every request.

use rcgen::{CertificateParams, KeyPair};
use std::{net::SocketAddr, process::Command};
use taskpass_e2e::{
    Broker, Client, Echo, Guard, Signed, World, certificate,
    resource::{Answer, Caller, signed},
    start, token, until,
};
use taskpass_servers::Nginx;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/nginx-guard");

async fn certify(agent: &Client, task: &str) -> Signed {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let (_, chain) = agent.issue_certificate(certificate(task, csr)).await.unwrap();
    signed(&chain, &key)
}

/// An nginx with the example's files in front of `echo`; each path demands another action.
async fn serve(world: &World, guard: &Guard, echo: &Echo) -> Nginx {
    let own = world.authority.server([127, 0, 0, 1].into());
    let read = |name: &str| std::fs::read_to_string(format!("{EXAMPLE}/{name}")).unwrap();
    let directory = Nginx::directory(&[
        ("server.pem", &own.chain_pem),
        ("server.key", &own.key_pem),
        ("taskpass-guard.conf", &read("taskpass-guard.conf")),
        ("taskpass-facts.conf", &read("taskpass-facts.conf")),
    ]);
    // Its workers are somebody else where the tests run as root, and may not open the socket.
    let http = format!("upstream taskpass-guard {{ server {}; keepalive 16; }}", guard.address);
    let location = |path: &str, set: &str| {
        format!(
            "location {path} {{\n{set}\ninclude taskpass-facts.conf;\n\
             proxy_pass http://{};\n}}\n",
            echo.address
        )
    };
    let locations = [
        location("/", "set $taskpass_action invoice:read;"),
        location("/delete", "set $taskpass_action invoice:delete;"),
        location("/any", "set $taskpass_action ANY;"),
        location("/forgotten", ""),
    ];
    let server = format!(
        "ssl_certificate server.pem;\nssl_certificate_key server.key;\ninclude taskpass-guard.conf;\n{}",
        locations.concat()
    );
    Nginx::start_with(directory, &http, &server).await
}

async fn connect(world: &World, nginx: &Nginx, client: &Signed) -> Caller {
    let address = SocketAddr::from(([127, 0, 0, 1], nginx.port()));
    Caller::certified(address, &world.authority.pem(), &client.chain_pem, &client.key_pem).await.unwrap()
}

/// A fresh connection, and one question.
async fn ask(world: &World, nginx: &Nginx, client: &Signed, path: &str, token: Option<&str>) -> Answer {
    connect(world, nginx, client).await.get(path, token).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_asked_about_and_refused_when_its_task_has_ended() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let (guard, echo) = (Guard::start(&world).await, Echo::start().await);
    let nginx = serve(&world, &guard, &echo).await;
    let (bot, rival) = (world.authority.svid("dev/bot"), world.authority.svid("dev/rival"));
    let agent = Client::connect(&world.endpoint(&bot)).await;
    let (task, other) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    // Bound to the certificate of the connection on which it was issued.
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    let (leaf, beside) = (certify(&agent, &task.id).await, certify(&agent, &other.id).await);

    let answer = ask(&world, &nginx, &bot, "/x", Some(&jwt)).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", nginx.log());
    for fact in ["x-taskpass-agent: dev/bot\r\n", "x-taskpass-actions: invoice:read\r\n"] {
        assert!(answer.text.contains(fact), "{answer:?}");
    }
    for id in [&task.id, &lease.id] {
        assert!(answer.text.contains(&id.to_lowercase()), "{id}: {answer:?}");
    }
    assert!(ask(&world, &nginx, &leaf, "/", None).await.is_ok(), "{}", nginx.log());
    for (what, client, path, token, status) in [
        ("stolen: bound to another certificate", &rival, "/", Some(jwt.as_str()), 401),
        ("a stranger's certificate", &rival, "/", None, 401),
        ("no token at all", &bot, "/", Some("x"), 401),
        ("another action", &bot, "/delete", Some(jwt.as_str()), 403),
        ("any action", &bot, "/any", Some(jwt.as_str()), 200),
        ("nobody said which action", &bot, "/forgotten", Some(jwt.as_str()), 500),
        ("another action, by certificate", &leaf, "/delete", None, 403),
        ("the guard itself is not for clients", &bot, "/taskpass-guard", Some(jwt.as_str()), 404),
    ] {
        let answer = ask(&world, &nginx, client, path, token).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}\n{}", nginx.log());
    }

    // Connections that are open and were accepted.
    let (mut open, mut certified) =
        (connect(&world, &nginx, &bot).await, connect(&world, &nginx, &leaf).await);
    assert!(open.get("/", Some(&jwt)).await.unwrap().is_ok());
    assert!(certified.get("/", None).await.unwrap().is_ok());
    agent.complete(&task.id).await.unwrap();
    let refused = until("nginx refuses the token", async || {
        let answer = open.get("/", Some(&jwt)).await.unwrap();
        (answer.status == 401).then_some(answer.text)
    })
    .await;
    assert!(refused.contains("ended: completed"), "{refused}");
    assert_eq!(certified.get("/", None).await.unwrap().status, 401);
    assert!(ask(&world, &nginx, &beside, "/", None).await.is_ok(), "{}", nginx.log());
    let counted = Caller::plain(guard.address).await.unwrap().get("/metrics", None).await.unwrap();
    for name in ["taskpass_verifier_accepted_total", "taskpass_verifier_refused_total", "reason=\"denied\""] {
        assert!(counted.is_ok() && counted.text.contains(name), "{counted:?}");
    }
    broker.assert_well(&world).await;
    nginx.stop().await;
    guard.stop().await;
}

/// What curl gets from a server that it trusts, with a certificate if there is one and with these headers: status and body.
fn curl(world: &World, nginx: &Nginx, client: Option<&Signed>, path: &str, headers: &[String]) -> String {
    world.write("root.pem", &world.authority.pem());
    let file = |name: &str| world.path(name).display().to_string();
    let url = format!("https://127.0.0.1:{}{path}", nginx.port());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--write-out", "%{http_code}", "--cacert", &file("root.pem")]);
    if let Some(client) = client {
        world.write("client.pem", &client.chain_pem);
        world.write("client.key", &client.key_pem);
        curl.args(["--cert", &file("client.pem"), "--key", &file("client.key")]);
    }
    curl.args(headers.iter().flat_map(|header| ["--header", header])).arg(url);
    String::from_utf8(curl.output().expect("`curl` is there").stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_in_the_words_of_nginx_counts_for_nothing() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let (guard, echo) = (Guard::start(&world).await, Echo::start().await);
    let nginx = serve(&world, &guard, &echo).await;
    let (bot, rival) = (world.authority.svid("dev/bot"), world.authority.svid("dev/rival"));
    let agent = Client::connect(&world.endpoint(&bot)).await;
    let task = agent.start_task(start()).await.unwrap();
    let (_, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    // A certificate is no secret: whoever stole the token may have it as well.
    let leaf = bot.chain_pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    let escapes = [("\n", "%0A"), (" ", "%20"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D")];
    let leaf = escapes.iter().fold(leaf.to_owned(), |text, (from, to)| text.replace(from, to));
    let bearer = format!("Authorization: Bearer {jwt}");
    let forged = [
        bearer.clone(),
        format!("X-Taskpass-Certificate: {leaf}"),
        "X-Taskpass-Action: ANY".to_owned(),
        "X-Taskpass-Agent: dev/root".to_owned(),
        "Content-Type: application/grpc".to_owned(),
    ];
    // It would do, if the guard heard it from whoever it believes.
    let direct = Command::new("curl")
        .args(["--silent", "--write-out", "%{http_code}"])
        .args(forged.iter().flat_map(|header| ["--header", header]))
        .arg(format!("http://{}/verify", guard.address))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&direct.stdout), "200");
    for (client, path, status) in [
        (None, "/", "401"),
        (Some(&rival), "/", "401"),
        (Some(&bot), "/delete", "403"),
        (Some(&bot), "/forgotten", "500"),
    ] {
        let said = curl(&world, &nginx, client, path, &forged);
        assert!(said.ends_with(status), "{path}: {said}\n{}", nginx.log());
    }
    let said = curl(&world, &nginx, Some(&bot), "/", &forged);
    assert!(said.ends_with("200") && said.contains("x-taskpass-agent: dev/bot"), "{said}");
    assert!(!said.contains("dev/root"), "{said}");
    // Two tokens: the guard and the server behind might each take another one.
    let said = curl(&world, &nginx, Some(&bot), "/", &[bearer, "Authorization: Bearer x".to_owned()]);
    assert!(!said.ends_with("200"), "{said}");
    broker.assert_well(&world).await;
    nginx.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_and_without_the_guard_nobody_gets_in() {
    let world = World::new();
    let guard = Guard::spawn(&world).await;
    assert_eq!(guard.status("/readyz", None).await, Some(503), "the broker was never heard");
    let broker = Broker::start(&world).await;
    until("the guard is ready", async || guard.answers("/readyz").await.then_some(())).await;
    let echo = Echo::start().await;
    let nginx = serve(&world, &guard, &echo).await;
    let agent = world.connect("dev/bot").await;
    let task = agent.start_task(start()).await.unwrap();
    let leaf = certify(&agent, &task.id).await;
    assert!(ask(&world, &nginx, &leaf, "/", None).await.is_ok(), "{}", nginx.log());

    broker.kill();
    // 5 s after the last word.
    let refused = until("what cannot be known is refused", async || {
        let answer = ask(&world, &nginx, &leaf, "/", None).await;
        (!answer.is_ok()).then_some(answer.status)
    })
    .await;
    assert_eq!(refused, 500, "that is what nginx makes of a 503");
    assert_eq!(guard.status("/verify", None).await, Some(401), "there is no credential");
    assert_eq!(guard.status("/readyz", None).await, Some(503));
    let broker = Broker::start(&world).await;
    until("it heals", async || ask(&world, &nginx, &leaf, "/", None).await.is_ok().then_some(())).await;
    guard.kill().await;
    assert_eq!(ask(&world, &nginx, &leaf, "/", None).await.status, 500);
    broker.assert_well(&world).await;
    nginx.stop().await;
}
