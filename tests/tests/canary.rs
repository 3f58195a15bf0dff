//! No secret in logs, metrics, audit, store or what commands print (I12): known secrets are looked for everywhere.

use rcgen::{CertificateParams, KeyPair};
use std::{
    fs,
    path::{Path, PathBuf},
};
use taskpass_e2e::{Broker, Client, World, certificate, program, run, start, token};
use taskpass_proto::v1::RenewCredentialRequest;

/// What must not be found, by name.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        assert!(secret.as_ref().len() >= 16, "{name} is too short to be looked for");
        self.0.push((name.to_owned(), secret.as_ref().to_vec()));
    }

    /// The whole token, and its signature alone: without it, the rest is no credential.
    fn add_token(&mut self, name: &str, jwt: &str) {
        self.add(name, jwt);
        self.add(&format!("the signature of {name}"), jwt.rsplit_once('.').unwrap().1);
    }

    /// In PEM: its lines; and the bytes of the key itself.
    fn add_key(&mut self, name: &str, pem: &str) {
        let key = KeyPair::from_pem(pem).unwrap();
        self.add(name, key.serialized_der());
        let lines: Vec<_> =
            pem.lines().filter(|line| !line.starts_with("-----") && line.len() > 16).collect();
        // The first line is the algorithm, the same for every key.
        for line in &lines[1..] {
            self.add(&format!("a line of {name}"), line);
        }
    }

    fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        self.0.iter().filter(|(_, secret)| holds(secret)).map(|(name, _)| name.as_str()).collect()
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_anywhere_but_with_whom_it_belongs() {
    let world = World::new();
    let broker = Broker::start_talkative(&world).await;
    let mut secrets = Secrets::default();
    let identity = world.authority.svid("dev/bot");
    secrets.add_key("the agent's key", &identity.key_pem);
    secrets.add_key("the broker's TLS key", &fs::read_to_string(world.path("server.key")).unwrap());
    let seal = fs::read(world.path("seal.key")).unwrap();
    secrets.add("the seal key", seal.trim_ascii());

    let agent = Client::connect(&world.endpoint(&identity)).await;
    let task = agent.start_task(start()).await.unwrap();
    let (lease, jwt) = agent.issue_token(token(&task.id)).await.unwrap();
    secrets.add_token("the first token", &jwt);
    let renew = RenewCredentialRequest { lease_id: lease.id.clone(), ..Default::default() };
    let (_, taskpass_proto::v1::credential::Form::Token(renewed)) = agent.renew(renew).await.unwrap() else {
        panic!("a certificate instead of a token")
    };
    assert_ne!(renewed, jwt);
    secrets.add_token("the renewed token", &renewed);
    let key = KeyPair::generate().unwrap();
    secrets.add_key("the certificate's key", &key.serialize_pem());
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    agent.issue(certificate(&task.id, csr)).await.unwrap();
    // A caller that pastes its token where it does not belong.
    agent.task(&jwt).await.unwrap_err();
    agent
        .issue(taskpass_proto::v1::IssueCredentialRequest { resource: jwt.clone(), ..token(&task.id) })
        .await
        .unwrap_err();

    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    for args in [
        &["lease", "list", "-o", "json"][..],
        &["lease", "show", &lease.id, "-o", "json"],
        &["task", "show", &task.id, "-o", "json"],
        &["audit", "tail", "-o", "jsonl"],
        &[
            "exec",
            "--task",
            "quiet",
            "--resource",
            "demo-api:invoice:read",
            "--",
            "sh",
            "-c",
            "printf %s \"$TASKPASS_TOKEN\" > $0",
            world.path("kept").to_str().unwrap(),
        ],
    ] {
        let mut command = program(args);
        command.env("TASKPASS_SOCKET", world.path("api.sock")).env("TASKPASS_LOG", "debug");
        let shown = run(command).await;
        assert_eq!(shown.code, 0, "{args:?}: {}", shown.stderr);
        seen.push((format!("{args:?}"), [shown.stdout, shown.stderr].concat().into_bytes()));
    }
    let kept = fs::read_to_string(world.path("kept")).unwrap();
    secrets.add_token("the command's token", &kept);
    seen.push(("the metrics".to_owned(), broker.metrics(&world).await.into_bytes()));
    agent.complete(&task.id).await.unwrap();
    broker.assert_well(&world).await;
    let (status, log) = broker.stop().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("DEBUG"), "the broker was not talkative");
    seen.push(("the log".to_owned(), log.into_bytes()));
    for file in files(&world.path("data")) {
        seen.push((file.display().to_string(), fs::read(&file).unwrap()));
    }
    assert!(seen.len() > 10, "not everything was looked at");

    // The search finds what is there: the command's own file, and the id of the lease in the audit log.
    assert_eq!(secrets.found_in(kept.as_bytes()).len(), 2);
    let ids = Secrets(vec![("the lease".to_owned(), lease.id.into_bytes())]);
    assert!(seen.iter().any(|(_, bytes)| !ids.found_in(bytes).is_empty()));
    for (place, bytes) in &seen {
        assert_eq!(secrets.found_in(bytes), [""; 0], "in {place}");
    }
}
