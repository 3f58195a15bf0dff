//! Starting from a cache while no broker is there: what it says is enforced, and whatever is wrong with it, nothing is
//! accepted because of it.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use common::{Broker, Session, T0, grant, lease, reached};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use taskpass_proto::v1::WatchDeniesResponse;
use taskpass_types::{Clock, Grant, HistoryId, ManualClock, Timestamp};
use taskpass_verify::{Rejected, Verifier, VerifierBuilder};
use tonic::transport::Endpoint;

const MAX_STALE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn code(result: Result<impl Sized, Rejected>) -> &'static str {
    result.err().map_or("accepted", |rejected| rejected.code())
}

/// A verifier with a cache, which its broker has told of the end of `gone`.
struct Scene {
    broker: Broker,
    verifier: Verifier,
    session: Session,
    dir: tempfile::TempDir,
    gone: Grant,
}

impl Scene {
    async fn set() -> Self {
        let (mut broker, dir) = (Broker::start(), tempfile::tempdir().unwrap());
        let verifier = broker.builder().cache(dir.path().join("denies")).start().unwrap();
        let (session, gone) = (broker.session().await, grant());
        session.say(broker.snapshot(3, vec![lease(2, &gone)])).await;
        let mut scene = Self { broker, verifier, session, dir, gone };
        scene.acknowledged(3).await;
        scene
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("denies")
    }

    /// Waits until the verifier says that it enforces this epoch: what is in its cache by then is what counts.
    async fn acknowledged(&mut self, epoch: u64) {
        while self.broker.acknowledged.recv().await.unwrap().epoch < epoch {}
    }

    /// The cache as a crash would leave it now, in a directory of its own.
    fn crashed(&self) -> Crashed {
        Crashed::with(&fs::read(self.file()).unwrap())
    }

    fn tokens(&self) -> [String; 2] {
        [self.broker.token(&grant()), self.broker.token(&self.gone)]
    }
}

/// What is left of a verifier, and a machine whose clocks can be set before it starts again.
struct Crashed {
    dir: tempfile::TempDir,
    wall: Timestamp,
    stopwatch: Timestamp,
}

impl Crashed {
    fn with(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let crashed = Self { dir, wall: T0, stopwatch: T0 };
        fs::write(crashed.file(), bytes).unwrap();
        fs::set_permissions(crashed.file(), fs::Permissions::from_mode(0o600)).unwrap();
        crashed
    }

    fn after(self, span: Duration) -> Self {
        Self { wall: self.wall.plus(span), stopwatch: self.stopwatch.plus(span), ..self }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("denies")
    }

    /// What becomes of a good token and of one that has ended, where nobody answers.
    fn says(&self, tokens: &[String; 2]) -> [&'static str; 2] {
        self.judges(|builder| builder, tokens)
    }

    /// From a copy: the file is held until the last task of its verifier has been dropped.
    fn judges(
        &self,
        change: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
        tokens: &[String; 2],
    ) -> [&'static str; 2] {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(self.file(), copy.path().join("denies")).unwrap();
        let builder = self.builder(copy.path()).cache(copy.path().join("denies"));
        let verifier = change(builder).start().unwrap();
        tokens.each_ref().map(|token| code(verifier.verify_token(token)))
    }

    fn builder(&self, dir: &Path) -> VerifierBuilder {
        let clock = |at| Arc::new(ManualClock::new(at)) as Arc<dyn Clock>;
        Verifier::builder(nobody(dir))
            .audience("billing-api")
            .max_stale(MAX_STALE)
            .clocks(clock(self.wall), clock(self.stopwatch))
    }
}

fn nobody(dir: &Path) -> tonic::transport::Channel {
    Endpoint::from_shared(format!("unix:{}", dir.join("nobody").display())).unwrap().connect_lazy()
}

const SERVES: [&str; 2] = ["accepted", "denied"];
const KNOWS_NOTHING: [&str; 2] = ["not_ready", "not_ready"];

#[tokio::test]
async fn a_strict_verifier_begins_with_it_while_it_is_young() {
    let scene = Scene::set().await;
    let tokens = scene.tokens();
    assert_eq!(scene.crashed().says(&tokens), SERVES);
    assert_eq!(scene.crashed().after(MAX_STALE).says(&tokens), SERVES);
    assert_eq!(scene.crashed().after(MAX_STALE + SECOND).says(&tokens), KNOWS_NOTHING);
    let crashed = scene.crashed().after(SECOND * 3);
    let clock = Arc::new(ManualClock::new(crashed.wall));
    let verifier = crashed
        .builder(crashed.dir.path())
        .cache(crashed.file())
        .clocks(clock.clone(), clock.clone())
        .start()
        .unwrap();
    assert_eq!(verifier.staleness(), Some(SECOND * 3), "it is no fresher than it was");
    clock.advance(SECOND * 3);
    assert_eq!(code(verifier.verify_token(&tokens[0])), "feed_stale");
}

#[tokio::test]
async fn by_choice_it_serves_until_what_it_accepts_expires() {
    let scene = Scene::set().await;
    let tokens = scene.tokens();
    let crashed = scene.crashed().after(MINUTE * 4);
    assert_eq!(crashed.judges(VerifierBuilder::until_expiry, &tokens), SERVES);
    assert_eq!(crashed.says(&tokens), KNOWS_NOTHING, "not for who did not choose it");
    let crashed = scene.crashed().after(MINUTE * 6);
    assert_eq!(crashed.judges(VerifierBuilder::until_expiry, &tokens), ["expired", "expired"]);
}

#[tokio::test]
async fn no_clock_makes_it_fresher() {
    let scene = Scene::set().await;
    let tokens = scene.tokens();
    let at = |wall: Timestamp, stopwatch: Timestamp| Crashed { wall, stopwatch, ..scene.crashed() };
    let later = T0.plus(MINUTE);
    for (what, crashed, expected) in [
        ("the wall clock was set back", at(T0.minus(SECOND), T0.plus(SECOND)), KNOWS_NOTHING),
        ("it was set back, but not as far as time went on", at(T0.plus(SECOND), later), KNOWS_NOTHING),
        ("it was set forward", at(later, T0.plus(SECOND)), KNOWS_NOTHING),
        ("the machine started anew at once", at(T0.plus(SECOND), Timestamp::from_secs(9)), SERVES),
        ("it was off for a minute", at(later, Timestamp::from_secs(9)), KNOWS_NOTHING),
    ] {
        assert_eq!(crashed.says(&tokens), expected, "{what}");
    }
    let crashed = at(T0.minus(SECOND), T0);
    assert_eq!(crashed.judges(VerifierBuilder::until_expiry, &tokens), KNOWS_NOTHING, "nor by choice");
}

#[tokio::test]
async fn what_was_acknowledged_is_in_it_whenever_the_process_dies() {
    let mut scene = Scene::set().await;
    for epoch in 4..40 {
        let gone = grant();
        let token = scene.broker.token(&gone);
        assert_eq!(code(scene.verifier.verify_token(&token)), "accepted");
        scene.session.say(scene.broker.delta(epoch - 1, vec![lease(epoch, &gone)])).await;
        scene.acknowledged(epoch).await;
        let good = scene.broker.token(&grant());
        assert_eq!(scene.crashed().says(&[good, token]), SERVES, "epoch {epoch}");
    }
}

#[tokio::test]
async fn it_goes_on_from_where_it_was() {
    let mut scene = Scene::set().await;
    let crashed = scene.crashed();
    drop((scene.verifier, scene.session));
    let builder = scene.broker.builder().cache(crashed.file());
    let verifier = builder.start().unwrap();
    assert_eq!(verifier.epoch().map(|epoch| epoch.0), Some(3));
    let session = scene.broker.session().await;
    assert_eq!(session.request.epoch, 3, "no snapshot is needed");
    // The keys are of the cache, for the broker says them in its own first message only.
    session.say(scene.broker.delta(3, vec![lease(4, &grant())])).await;
    reached(&verifier, 4).await;
    assert_eq!(code(verifier.verify_token(&scene.broker.token(&scene.gone))), "denied");
    // Another life of the store replaces it.
    let history_id = HistoryId([2; 16]).to_string();
    session.say(WatchDeniesResponse { history_id, ..scene.broker.snapshot(1, vec![]) }).await;
    reached(&verifier, 1).await;
    assert_eq!(code(verifier.verify_token(&scene.broker.token(&scene.gone))), "accepted");
}

#[tokio::test]
async fn damaged_anywhere_or_cut_off_it_is_not_used() {
    let mut scene = Scene::set().await;
    scene.session.say(scene.broker.delta(3, vec![lease(4, &grant())])).await;
    scene.acknowledged(4).await;
    let (tokens, bytes) = (scene.tokens(), fs::read(scene.file()).unwrap());
    let crashed = Crashed::with(&bytes);
    assert_eq!(crashed.says(&tokens), SERVES);
    for length in 0..bytes.len() {
        // What the last verifier left running ends here.
        tokio::task::yield_now().await;
        fs::write(crashed.file(), &bytes[..length]).unwrap();
        assert_eq!(crashed.says(&tokens), KNOWS_NOTHING, "cut off after {length} bytes");
    }
    for at in 0..bytes.len() {
        tokio::task::yield_now().await;
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(crashed.file(), &damaged).unwrap();
        let says = crashed.says(&tokens);
        // One flipped bit makes the recorded length larger or smaller. The recorded length may only be too small without harm.
        let harmless = (16..24).contains(&at) && says == SERVES;
        assert!(says == KNOWS_NOTHING || harmless, "byte {at} flipped: {says:?}");
    }
    fs::write(crashed.file(), [bytes.as_slice(), &[0]].concat()).unwrap();
    assert_eq!(crashed.says(&tokens), KNOWS_NOTHING, "something was added");
}

#[tokio::test]
async fn of_others_or_open_to_others_it_is_not_used() {
    let scene = Scene::set().await;
    let (tokens, crashed) = (scene.tokens(), scene.crashed());
    let mode = fs::metadata(scene.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(crashed.says(&tokens), SERVES);
    assert_eq!(crashed.judges(|builder| builder.tenant("other"), &tokens), KNOWS_NOTHING);
    assert_eq!(crashed.judges(|builder| builder.audience("billing-api-2"), &tokens), KNOWS_NOTHING);
    for mode in [0o640, 0o602] {
        fs::set_permissions(crashed.file(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(crashed.says(&tokens), KNOWS_NOTHING, "{mode:o}");
    }
    // Who comes second has none, and works.
    let second = scene.broker.builder().cache(scene.file()).start().unwrap();
    assert_eq!(second.epoch(), None);
    assert_eq!(crashed.judges(|builder| builder.cache("/no/such/directory/denies"), &tokens), KNOWS_NOTHING);
}

#[tokio::test]
async fn one_that_cannot_be_written_is_gone_before_anything_more_is_acknowledged() {
    let mut scene = Scene::set().await;
    // Where the next one would be prepared, something is in the way.
    fs::create_dir(scene.file().with_added_extension("new")).unwrap();
    let gone = grant();
    let anew = scene.broker.snapshot(4, vec![lease(4, &gone)]);
    scene.session.say(anew).await;
    scene.acknowledged(4).await;
    assert!(!scene.file().exists());
    assert_eq!(code(scene.verifier.verify_token(&scene.broker.token(&gone))), "denied");
}
