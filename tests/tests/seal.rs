//! The key that seals the signing keys comes from a file, from the environment or from systemd's credentials.

use std::{fs, os::unix::fs::PermissionsExt};
use taskpass_e2e::{Broker, Settings, World};

const SEAL: &str = "6a5d0c9b1e8f4a7d2c3b6e9f8a1d4c7b5e2f9a0c3d6b8e1f4a7c0d9b2e5f8a3c";

/// The usual world, sealed by `seal`.
fn reseal(world: &World, seal: &str) {
    let usual = world.config_text(Settings::default());
    let text = usual.replace("seal = { file = \"seal.key\" }", &format!("seal = {{ {seal} }}"));
    assert_ne!(text, usual);
    world.write("taskpass.toml", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seal_key_comes_from_the_environment_or_from_systemd() {
    let world = World::new();
    let credentials = world.path("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("seal"), SEAL).unwrap();
    fs::set_permissions(credentials.join("seal"), PermissionsExt::from_mode(0o440)).unwrap();
    let directory = credentials.display().to_string();
    let variable = ("TASKPASS_TEST_SEAL", SEAL);

    reseal(&world, "env = \"TASKPASS_TEST_SEAL\"");
    let broker = Broker::start_in(&world, &[variable]).await.unwrap();
    broker.assert_well(&world).await;
    let keys = broker.jwks(&world).await;
    assert!(!broker.log().contains(SEAL));
    broker.stop().await;
    // The other place has the same key: it opens what was sealed, and makes nothing new.
    reseal(&world, "credential = \"seal\"");
    let broker = Broker::start_in(&world, &[("CREDENTIALS_DIRECTORY", &directory)]).await.unwrap();
    broker.assert_well(&world).await;
    assert_eq!(broker.jwks(&world).await, keys);
    broker.stop().await;

    let other = SEAL.replace('6', "7");
    for (what, seal, environment, why) in [
        ("no variable", "env = \"TASKPASS_TEST_SEAL\"", vec![], "`TASKPASS_TEST_SEAL`"),
        ("no key in it", "env = \"TASKPASS_TEST_SEAL\"", vec![("TASKPASS_TEST_SEAL", "short")], "seal"),
        ("another key", "env = \"TASKPASS_TEST_SEAL\"", vec![("TASKPASS_TEST_SEAL", other.as_str())], "seal"),
        ("no systemd", "credential = \"seal\"", vec![variable], "`CREDENTIALS_DIRECTORY`"),
        (
            "no such credential",
            "credential = \"other\"",
            vec![("CREDENTIALS_DIRECTORY", directory.as_str())],
            "other",
        ),
    ] {
        reseal(&world, seal);
        let Err((status, said)) = Broker::start_in(&world, &environment).await else {
            panic!("{what}: the broker serves");
        };
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        assert!(said.contains(why), "{what}: {said}");
        assert!(!said.contains(&other) && !said.contains("short"), "{what}: it says the key\n{said}");
    }
}
