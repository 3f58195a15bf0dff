//! Our scripts, and the only two ways to call them. Their text is constant; all that varies is in keys and arguments.

use crate::{error::Trouble, settings::Settings, texts::Texts};
use redis::{Value, aio::MultiplexedConnection, cmd, pipe};
use std::sync::Arc;

/// The scripts' texts, by name and version.
pub(crate) const SCRIPTS: [(&str, &str); 5] = [
    ("adopt", include_str!("scripts/adopt.lua")),
    ("commit", include_str!("scripts/commit.lua")),
    ("probe", include_str!("scripts/probe.lua")),
    ("read", include_str!("scripts/read.lua")),
    ("restore", include_str!("scripts/restore.lua")),
];

/// The scripts' names on a server, which are the hashes of their texts.
#[derive(Debug)]
struct Hashes {
    adopt: String,
    commit: String,
    probe: String,
    read: String,
    restore: String,
}

/// One connection on which scripts are called.
#[derive(Clone)]
pub(crate) struct Caller {
    connection: MultiplexedConnection,
    hashes: Arc<Hashes>,
    /// The control hash, and the generation that it must have.
    fence: Option<Arc<(Vec<u8>, Vec<u8>)>>,
}

/// How many replicas have to confirm a write, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmation {
    pub(crate) replicas: u32,
    pub(crate) patience_millis: u64,
}

impl Confirmation {
    /// As an acknowledgement needs it: within half the time that an answer may take.
    pub(crate) fn of(settings: &Settings, takes_away: bool) -> Self {
        Self {
            replicas: settings.durability.replicas(takes_away),
            patience_millis: u64::try_from(settings.patience.as_millis() / 2).unwrap_or(u64::MAX),
        }
    }
}

impl Caller {
    /// Makes the scripts known to the server.
    pub(crate) async fn prepare(mut connection: MultiplexedConnection) -> Result<Self, Trouble> {
        let mut hashes = Vec::new();
        for (_, text) in SCRIPTS {
            let hash: String = cmd("SCRIPT").arg("LOAD").arg(text).query_async(&mut connection).await?;
            hashes.push(hash);
        }
        let [adopt, commit, probe, read, restore] =
            <[String; 5]>::try_from(hashes).map_err(|_| Trouble::unexpected("the scripts have no names"))?;
        Ok(Self { connection, hashes: Arc::new(Hashes { adopt, commit, probe, read, restore }), fence: None })
    }

    /// The same scripts on another connection to the same server.
    pub(crate) fn on(&self, connection: MultiplexedConnection) -> Self {
        Self { connection, hashes: self.hashes.clone(), fence: None }
    }

    /// Reads nothing but the ledger of `generation`: what another one says is no answer.
    pub(crate) fn fenced(self, control: Vec<u8>, generation: &str) -> Self {
        Self { fence: Some(Arc::new((control, generation.as_bytes().to_vec()))), ..self }
    }

    /// For what no script is needed.
    pub(crate) fn connection(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }

    pub(crate) async fn read(&mut self, keys: &Texts, arguments: &Texts) -> Result<Vec<Value>, Trouble> {
        if keys.len() == 0 {
            return Ok(Vec::new());
        }
        let (control, generation) = match &self.fence {
            Some(fence) => (Some(fence.0.as_slice()), fence.1.as_slice()),
            None => (None, &[][..]),
        };
        let count = keys.len() + usize::from(control.is_some());
        let parts = control.into_iter().chain(keys.iter()).chain([generation]).chain(arguments.iter());
        let call = call(&self.hashes.read, count, parts);
        match self.connection.send_packed_command(&call).await? {
            Value::Array(answers) => Ok(answers),
            Value::BulkString(_) => Err(Trouble::Overtaken("the ledger has another generation by now")),
            Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
            _ => Err(Trouble::unexpected("a read answered no list")),
        }
    }

    /// Calls `commit` or `adopt`; and, on the same connection directly behind it, waits for replicas to have it.
    pub(crate) async fn write(
        &mut self,
        script: Script,
        keys: &[Vec<u8>],
        arguments: &[&Texts],
        confirmation: Confirmation,
    ) -> Result<Written, Trouble> {
        let hash = match script {
            Script::Adopt => &self.hashes.adopt,
            Script::Commit => &self.hashes.commit,
            Script::Probe => &self.hashes.probe,
            Script::Restore => &self.hashes.restore,
        };
        let mut pipeline = pipe();
        let parts = keys.iter().map(Vec::as_slice).chain(arguments.iter().flat_map(|part| part.iter()));
        pipeline.add_command(call(hash, keys.len(), parts)).ignore_errors();
        if confirmation.replicas > 0 {
            pipeline.cmd("WAIT").arg(confirmation.replicas).arg(confirmation.patience_millis);
        }
        let commands = if confirmation.replicas > 0 { 2 } else { 1 };
        let answers = self.connection.send_packed_commands(&pipeline, 0, commands).await?;
        let mut answers = answers.into_iter();
        let answer = match answers.next() {
            Some(Value::ServerError(error)) => return Err(redis::RedisError::from(error).into()),
            Some(answer) => crate::fetch::texts(answer)?,
            None => return Err(Trouble::unexpected("a write answered nothing")),
        };
        let confirmed = match answers.next() {
            None => 0,
            Some(Value::Int(replicas)) => u32::try_from(replicas).unwrap_or(0),
            Some(_) => 0,
        };
        Ok(Written { answer, replicas: confirmed, confirmed: confirmed >= confirmation.replicas })
    }
}

/// Which script writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Script {
    Adopt,
    Commit,
    Probe,
    Restore,
}

/// What a write answered.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) answer: Vec<Vec<u8>>,
    /// How many replicas have it, as far as they were waited for.
    pub(crate) replicas: u32,
    /// Whether enough replicas have it.
    pub(crate) confirmed: bool,
}

/// `parts`: so many keys, then the arguments.
fn call<'a>(hash: &str, keys: usize, parts: impl Iterator<Item = &'a [u8]>) -> redis::Cmd {
    let mut call = cmd("EVALSHA");
    call.arg(hash).arg(keys);
    for part in parts {
        call.arg(part);
    }
    call
}
