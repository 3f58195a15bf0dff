//! Who is not who they must be: refused before anything is asked of policy, and written down.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, RootCertStore,
    client::{ClientSessionMemoryCache, Resumption},
    crypto::ring,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use std::{io, sync::Arc};
use taskpass_e2e::{
    Authority, Broker, Client, Leaf, Refused, Settings, Signed, World, resource::Caller, start, until,
};
use taskpass_proto::v1::{WhoAmIRequest, agent_service_client::AgentServiceClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::Code;

/// Asks who the caller is, the cheapest call of all.
async fn whoami(client: &Client) -> Result<String, Refused> {
    Ok(AgentServiceClient::new(client.channel()).who_am_i(WhoAmIRequest {}).await?.into_inner().agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_acceptable_svid_is_refused_and_written_down() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let id = |path| world.authority.id(path);
    let good = || Leaf::svid(id("dev/bot"));
    let unauthenticated = |reason| (Code::Unauthenticated, reason);
    for (what, signed, expected, message) in [
        (
            "an unregistered agent",
            world.authority.svid("dev/stranger"),
            unauthenticated("AGENT_NOT_REGISTERED"),
            "no registered agent",
        ),
        (
            "an expired SVID",
            world.authority.sign(&Leaf { ends_in: -60, ..good() }),
            unauthenticated("ATTESTATION_EXPIRED"),
            "expired",
        ),
        (
            "a trust domain that the broker does not know",
            world.foreign.svid("dev/bot"),
            unauthenticated("ATTESTATION_INVALID"),
            "foreign.test",
        ),
        (
            "our trust domain, signed by a foreign authority",
            world.foreign.sign(&good()),
            unauthenticated("ATTESTATION_INVALID"),
            "no authority of trust domain",
        ),
        (
            "a foreign trust domain, signed by our authority",
            world.authority.sign(&Leaf::svid("spiffe://foreign.test/dev/bot")),
            unauthenticated("ATTESTATION_INVALID"),
            "foreign.test",
        ),
        (
            "two URI names",
            world.authority.sign(&Leaf { uris: vec![id("dev/bot"), id("ops/oncall")], ..good() }),
            unauthenticated("ATTESTATION_INVALID"),
            "2 URI names",
        ),
        (
            "no URI name",
            world.authority.sign(&Leaf { uris: vec![], ..good() }),
            unauthenticated("ATTESTATION_INVALID"),
            "0 URI names",
        ),
        (
            "a name that is no SPIFFE ID",
            world.authority.sign(&Leaf::svid("https://acme.test/dev/bot")),
            unauthenticated("ATTESTATION_INVALID"),
            "SPIFFE ID",
        ),
        (
            "an authority",
            world.authority.sign(&Leaf { ca: true, ..good() }),
            unauthenticated("ATTESTATION_INVALID"),
            "authority",
        ),
    ] {
        let since = world.next_entry();
        let refused = whoami(&Client::connect(&world.endpoint(&signed)).await).await.unwrap_err();
        assert_eq!(refused.says(), expected, "{what}: {refused:?}");
        assert!(refused.message.contains(message), "{what}: {refused:?}");
        assert!(!refused.about("fix").is_empty(), "{what}: {refused:?}");
        world
            .recorded(what, |entry| {
                entry.seq >= since
                    && entry.action == "attest.refuse"
                    && entry.actor.starts_with("peer/")
                    && entry.refusal.as_deref() == Some(expected.1)
            })
            .await;
    }
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_an_owner_gets_nothing() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let orphan = world.connect("dev/orphan").await;
    assert_eq!(whoami(&orphan).await.unwrap(), "dev/orphan");
    let refused = orphan.start_task(start()).await.unwrap_err();
    assert_eq!(refused.says(), (Code::PermissionDenied, "AGENT_WITHOUT_OWNER"));
    assert_eq!((refused.about("agent"), refused.about("fix").contains("owner")), ("dev/orphan", true));
    world.recorded_refusal(1, "agent/dev/orphan", "AGENT_WITHOUT_OWNER").await;
    // Nor does somebody else start one for it.
    let scheduler = world.connect("platform/scheduler").await;
    let request = taskpass_proto::v1::StartTaskRequest { agent: "dev/orphan".to_owned(), ..start() };
    let refused = scheduler.start_task(request).await.unwrap_err();
    assert_eq!(refused.says(), (Code::PermissionDenied, "AGENT_WITHOUT_OWNER"));
    world.recorded_refusal(1, "orchestrator/platform/scheduler", "AGENT_WITHOUT_OWNER").await;
    assert!(world.entries().iter().all(|entry| entry.action != "task.start"));
    broker.assert_well(&world).await;
}

/// A TLS client of the test's own, which does what the client library never would.
fn tls(
    world: &World,
    identity: Option<&Signed>,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Signed { chain_pem, key_pem }) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(chain_pem.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    config
}

/// Handshakes, greets in HTTP/2 and reads the answer; gives the kind of the handshake.
async fn greet(world: &World, config: &Arc<ClientConfig>) -> io::Result<rustls::HandshakeKind> {
    let tcp = TcpStream::connect(world.api()).await?;
    let name = ServerName::from(world.api().ip());
    let mut stream = TlsConnector::from(config.clone()).connect(name, tcp).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    // In TLS 1.3 a server's refusal comes after the client thinks that all is well.
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await?;
    Ok(stream.get_ref().1.handshake_kind().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tls_1_3_with_a_certificate_and_never_a_resumed_session() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let bot = world.authority.svid("dev/bot");

    let nobody = greet(&world, &Arc::new(tls(&world, None, &TLS13))).await.unwrap_err();
    assert!(nobody.to_string().contains("CertificateRequired"), "{nobody}");
    let old = greet(&world, &Arc::new(tls(&world, Some(&bot), &TLS12))).await.unwrap_err();
    assert!(old.to_string().contains("ProtocolVersion"), "{old}");
    let plain = async {
        let mut tcp = TcpStream::connect(world.api()).await?;
        tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    };
    // An alert at most (record type 21), never HTTP/2.
    let answer = plain.await.unwrap_or_default();
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");

    // One cache for several connections: a server that allowed it would resume the second.
    let config = Arc::new(tls(&world, Some(&bot), &TLS13));
    for _ in 0..3 {
        assert_eq!(greet(&world, &config).await.unwrap(), rustls::HandshakeKind::Full);
    }
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_face_serves_what_anyone_may_read_and_nothing_else() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    for (path, status) in
        [("/", 404), ("/metrics/..", 404), ("/readyz", 200), ("/taskpass.v1.TaskService/StartTask", 404)]
    {
        let answer = Caller::plain(world.http()).await.unwrap().get(path, None).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    broker.assert_well(&world).await;
}

/// The certificate that the broker shows.
async fn shown(world: &World) -> CertificateDer<'static> {
    let config = tls(world, Some(&world.authority.svid("dev/bot")), &TLS13);
    let tcp = TcpStream::connect(world.api()).await.unwrap();
    let name = ServerName::from(world.api().ip());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_certificate_is_shown_while_running_and_a_broken_one_is_not() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let first = shown(&world).await;
    world.write("server.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    until("the broken one was looked at", async || {
        broker.log().contains("the server's certificate could not be read").then_some(())
    })
    .await;
    assert_eq!(shown(&world).await, first);
    let next = world.authority.server(world.address());
    world.write("server.key", &next.key_pem);
    world.write("server.pem", &next.chain_pem);
    let next = CertificateDer::from_pem_slice(next.chain_pem.as_bytes()).unwrap();
    until("the new one is shown", async || (shown(&world).await == next).then_some(())).await;
    broker.assert_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_may_be_a_spiffe_document() {
    let world = World::new();
    let pem = "file = \"bundle.pem\"";
    let text = world.config_text(Settings::default());
    let spiffe = text.replace(pem, "file = \"bundle.json\", format = \"spiffe\"");
    assert_ne!(spiffe, text);
    world.write("taskpass.toml", &spiffe);
    let authority = CertificateDer::from_pem_slice(world.authority.pem().as_bytes()).unwrap();
    let key = serde_json::json!({"use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(authority)]});
    world.write("bundle.json", &serde_json::json!({"keys": [key]}).to_string());
    let broker = Broker::start(&world).await;
    assert_eq!(whoami(&world.connect("dev/bot").await).await.unwrap(), "dev/bot");
    // The trust domain is given up as a whole.
    world.write("bundle.json", r#"{"keys": []}"#);
    let refused =
        until("nobody is believed", async || whoami(&world.connect("dev/bot").await).await.err()).await;
    assert_eq!(refused.says(), (Code::Unauthenticated, "ATTESTATION_INVALID"));
    broker.stop().await;
    // PEM is none.
    world.write("bundle.json", &world.authority.pem());
    let (_, said) = Broker::start_refused(&world).await;
    assert!(said.contains("bundle.json"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bundle_turns_refusals_into_acceptance_and_back_while_running() {
    let world = World::new();
    let broker = Broker::start(&world).await;
    let next = Authority::new("acme.test");
    let newcomer = world.endpoint(&next.svid("dev/bot"));
    let refused = whoami(&Client::connect(&newcomer).await).await.unwrap_err();
    assert_eq!(refused.says(), (Code::Unauthenticated, "ATTESTATION_INVALID"));

    // A broken bundle changes nothing.
    world.write("bundle.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    until("the broken bundle was looked at", async || broker.log().contains("bundle").then_some(())).await;
    assert_eq!(whoami(&world.connect("dev/bot").await).await.unwrap(), "dev/bot");

    // Both, as in a rotation.
    world.write("bundle.pem", &[world.authority.pem(), next.pem()].concat());
    until("the new authority is believed", async || whoami(&Client::connect(&newcomer).await).await.ok())
        .await;
    assert_eq!(whoami(&world.connect("dev/bot").await).await.unwrap(), "dev/bot");

    // Only the new one: whoever connects with the old is refused.
    world.write("bundle.pem", &next.pem());
    let refused = until("the old authority is not believed", async || {
        whoami(&world.connect("dev/bot").await).await.err()
    })
    .await;
    assert_eq!(refused.says(), (Code::Unauthenticated, "ATTESTATION_INVALID"));
    assert_eq!(whoami(&Client::connect(&newcomer).await).await.unwrap(), "dev/bot");
    world.write("bundle.pem", &world.authority.pem());
    until("the old authority is believed again", async || whoami(&world.connect("dev/bot").await).await.ok())
        .await;
    broker.assert_well(&world).await;
}
