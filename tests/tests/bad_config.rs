//! A configuration that is wrong starts nothing, and says where, what and how to mend it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};
use taskpass_e2e::{Broker, Run, Settings, World, program, run};
use tokio::time::timeout;

async fn serve(world: &World, more: &[&str]) -> Run {
    let mut command = program(["serve", "--config"]);
    command.arg(world.path("taskpass.toml")).args(more);
    timeout(Duration::from_secs(60), run(command))
        .await
        .expect("it serves, with a configuration that is wrong")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_shown_with_its_place() {
    let world = World::new();
    let good = world.config_text(Settings::default());
    let with = |line: &str| format!("{good}\n{line}\n");
    let last = good.lines().count() + 1;
    for (what, text, parts) in [
        (
            "an unknown key",
            with("[limits]\ntask_maximum = \"8h\""),
            vec![format!("{}:1", last + 2), "`limits.task_maximum`".into(), "unknown key".into()],
        ),
        (
            "a wrong type",
            with("[limits]\nlive_per_task = \"many\""),
            vec![format!("{}:", last + 2), "`limits.live_per_task`".into()],
        ),
        (
            "a span that is none",
            with("[limits]\ntask_max = \"8 fortnights\""),
            vec![format!("{}:", last + 2), "`limits.task_max`".into()],
        ),
        (
            "no TOML",
            good.replace("trust_domain = \"acme.test\"\nissuer", "trust_domain = \nissuer"),
            vec!["2:".into()],
        ),
        ("nothing", String::new(), vec!["trust_domain".into()]),
        (
            "an agent twice",
            with("[[agents]]\nid = \"dev/bot\"\nselectors = [\"unix:uid:1\"]"),
            vec![format!("{}:", last + 2), "`agents[4].id`".into(), "twice".into()],
        ),
        (
            "an agent that everyone is",
            with("[[agents]]\nid = \"dev/all\"\nselectors = []"),
            vec![format!("{}:", last + 3), "`agents[4].selectors`".into()],
        ),
        (
            "a selector that is none",
            with("[[agents]]\nid = \"dev/x\"\nselectors = [\"colour:blue\"]"),
            vec![format!("{}:", last + 3), "`agents[4].selectors".into()],
        ),
        (
            "TCP without a certificate",
            good.replace("tls = {", "#tls = {"),
            vec!["4:".into(), "`listen.api`".into()],
        ),
        (
            "a default above its limit",
            with("[defaults]\njwt_ttl = \"1h\""),
            vec![format!("{}:", last + 2), "`defaults.jwt_ttl`".into()],
        ),
    ] {
        world.write("taskpass.toml", &text);
        for (more, code) in [(&[][..], 2), (&["--check"], 10)] {
            let said = serve(&world, more).await;
            assert_eq!(said.code, code, "{what}: {}", said.stderr);
            let file = world.path("taskpass.toml").display().to_string();
            for part in parts.iter().chain([&file, &"fix ".to_owned()]) {
                assert!(said.stderr.contains(part.as_str()), "{what}: `{part}` is not in\n{}", said.stderr);
            }
        }
        assert!(!world.path("data").exists(), "{what}: something was started");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named() {
    let world = World::new();
    let config = world.path("taskpass.toml");
    fs::remove_file(&config).unwrap();
    let check = async |part: &str| {
        let said = serve(&world, &[]).await;
        assert_eq!(said.code, 2, "{}", said.stderr);
        assert!(
            said.stderr.contains(&config.display().to_string()) && said.stderr.contains(part),
            "{}",
            said.stderr
        );
    };
    check("No such file").await;
    fs::create_dir(&config).unwrap();
    check("directory").await;
    fs::remove_dir(&config).unwrap();
    fs::write(&config, b"trust_domain = \"\xff\"").unwrap();
    check("UTF-8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_names_must_be_usable() {
    let world = World::new();
    let type_error = "permit (principal, action, resource)\nwhen { context.amuont > 5 };\n";
    // One after the other: each is broken, tried and mended.
    for (what, file, broken, parts) in [
        (
            "a policy with a type error",
            "policies/broken.cedar",
            Some(type_error),
            &["broken.cedar:2", "amuont"][..],
        ),
        ("a policy that is none", "policies/broken.cedar", Some("permit (principal"), &["broken.cedar:1"]),
        ("no seal key", "seal.key", None, &["seal.key"]),
        ("a seal key that is none", "seal.key", Some("short"), &["seal.key"]),
        ("no bundle", "bundle.pem", None, &["bundle.pem"]),
        ("a bundle that is none", "bundle.pem", Some("hello"), &["bundle.pem"]),
        ("no certificate", "server.pem", None, &["server.pem"]),
        ("a certificate that is none", "server.pem", Some("hello"), &["server.pem"]),
        ("no key", "server.key", None, &["server.key"]),
    ] {
        let (place, aside) = (world.path(file), world.path("aside"));
        let was_there = fs::rename(&place, &aside).is_ok();
        if let Some(text) = broken {
            fs::write(&place, text).unwrap();
            fs::set_permissions(&place, Permissions::from_mode(0o600)).unwrap();
        }
        let (status, said) = Broker::start_refused(&world).await;
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        for part in parts {
            assert!(said.contains(part), "{what}: `{part}` is not in\n{said}");
        }
        if broken.is_some() {
            fs::remove_file(&place).unwrap();
        }
        if was_there {
            fs::rename(&aside, &place).unwrap();
        }
    }
    fs::rename(world.path("policies"), world.path("elsewhere")).unwrap();
    let (status, said) = Broker::start_refused(&world).await;
    assert!(status.code() == Some(1) && said.contains("policies"), "{said}");
    fs::rename(world.path("elsewhere"), world.path("policies")).unwrap();

    let broker = Broker::start(&world).await;
    // A second broker on the same data would tear it apart.
    let second = serve(&world, &[]).await;
    assert!(second.code == 1 && second.stderr.contains("another process"), "{second:?}");
    broker.assert_well(&world).await;
}
