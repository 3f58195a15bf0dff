//! PostgreSQL with the files of `deploy/examples/postgresql`: no session begins with a certificate whose task has ended.

use rcgen::{CertificateParams, KeyPair};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};
use taskpass_e2e::{Broker, Client, Signed, World, certificate, resource::signed, start, until};
use taskpass_servers::Postgres;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples");
const PASSWORD: &str = "of a test";

async fn certify(agent: &Client, task: &str) -> Signed {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let (_, chain) = agent.issue_certificate(certificate(task, csr)).await.unwrap();
    signed(&chain, &key)
}

/// Brings the two files up to date, and then does what `then` says; `None`: they are not to be had.
fn fetch(world: &World, data: &Path, then: &[String]) -> Option<()> {
    let mut script = Command::new(format!("{EXAMPLES}/taskpass-lists"));
    script.arg(format!("http://{}", world.http())).arg(data.join("taskpass")).args(then);
    script.output().unwrap().status.success().then_some(())
}

/// A session with the certificate, if there is one, and the password; what it was told, or why there was none.
fn ask(world: &World, server: &Postgres, client: Option<&Signed>) -> Result<String, String> {
    world.write("root.pem", &world.authority.pem());
    let (chain, key) = (world.path("client.pem"), world.path("client.key"));
    let none = Signed { chain_pem: String::new(), key_pem: String::new() };
    let Signed { chain_pem, key_pem } = client.unwrap_or(&none);
    fs::write(&chain, chain_pem).unwrap();
    fs::write(&key, key_pem).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut words = format!(
        "host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=verify-full sslrootcert={}",
        server.port(),
        world.path("root.pem").display()
    );
    if client.is_some() {
        words.push_str(&format!(" sslcert={} sslkey={}", chain.display(), key.display()));
    }
    let mut psql = Command::new("psql");
    psql.env("PGPASSWORD", PASSWORD).env("HOME", world.dir()).args(["-Atc", "select 'hello'"]).arg(words);
    let output = psql.output().expect("`psql` is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_begins_with_a_certificate_whose_task_has_ended() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let own = world.authority.server([127, 0, 0, 1].into());
    let read = |name: &str| fs::read_to_string(format!("{EXAMPLES}/postgresql/{name}")).unwrap();
    let directory = Postgres::data(
        PASSWORD,
        &[
            ("server.crt", &own.chain_pem),
            ("server.key", &own.key_pem),
            ("taskpass.conf", &read("taskpass.conf")),
            ("pg_hba.conf", &read("pg_hba.conf")),
            ("taskpass/.keep", ""),
        ],
    );
    let data = directory.path().join("data");
    until("the lists are there", async || fetch(&world, &data, &["true".to_owned()])).await;
    let server = Postgres::start(directory, "include 'taskpass.conf'").await;

    let agent = world.connect("dev/bot").await;
    let (task, other) = (agent.start_task(start()).await.unwrap(), agent.start_task(start()).await.unwrap());
    let (leaf, beside) = (certify(&agent, &task.id).await, certify(&agent, &other.id).await);
    for client in [&leaf, &beside] {
        assert_eq!(ask(&world, &server, Some(client)), Ok("hello".to_owned()), "{}", server.log());
    }
    let without = ask(&world, &server, None).unwrap_err();
    assert!(without.contains("valid client certificate"), "{without}");
    assert!(ask(&world, &server, Some(&world.authority.svid("dev/bot"))).is_err(), "of another authority");

    agent.complete(&task.id).await.unwrap();
    let refused = until("PostgreSQL refuses", async || {
        fetch(&world, &server.path(), &server.reload())?;
        ask(&world, &server, Some(&leaf)).err()
    })
    .await;
    assert!(refused.contains("revoked"), "{refused}\n{}", server.log());
    assert_eq!(ask(&world, &server, Some(&beside)), Ok("hello".to_owned()), "{}", server.log());
    broker.assert_well(&world).await;
    server.stop().await;
}
