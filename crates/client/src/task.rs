//! Guards of tasks: show life while they live, end the task when they go.

use crate::{
    Broker, Error, LeaseBuilder,
    approvals::Patience,
    broker,
    lease::{duration, span},
};
use std::{fmt, time::Duration};
use taskpass_proto::v1;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Declares a task; made by [`Broker::task`].
#[derive(Clone)]
#[must_use = "nothing is declared before `start`"]
pub struct TaskBuilder {
    broker: Broker,
    request: v1::StartTaskRequest,
    ttl: Option<Duration>,
    heartbeat: Option<Duration>,
    patience: Option<Patience>,
}

impl TaskBuilder {
    pub(crate) fn new(broker: Broker, purpose: String) -> Self {
        let request = v1::StartTaskRequest { purpose, ..Default::default() };
        Self { broker, request, ttl: None, heartbeat: None, patience: None }
    }

    /// The class of task that policy speaks of; `task` when not said.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.request.kind = kind.into();
        self
    }

    /// Adds one `resource:action` that will be asked for.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.request.scopes.push(scope.into());
        self
    }

    /// Adds several scopes.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.request.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// How long it may run; 1 h when not said.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How often the guard shows life. The broker ends the task when three in a row are missing; never when not said.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }

    /// Adds a label, for people and selectors.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.labels.insert(key.into(), value.into());
        self
    }

    /// Who or what it is started for; the caller when not said.
    pub fn initiator(mut self, initiator: impl Into<String>) -> Self {
        self.request.initiator = initiator.into();
        self
    }

    /// For an orchestrator: the agent that will hold it.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.request.agent = agent.into();
        self
    }

    /// Delegates: the task, held by the caller, that this one is under.
    pub fn parent(mut self, task: impl Into<String>) -> Self {
        self.request.parent_task_id = task.into();
        self
    }

    /// For an orchestrator: how sensitive it is.
    pub fn sensitivity(mut self, sensitivity: impl Into<String>) -> Self {
        self.request.sensitivity = sensitivity.into();
        self
    }

    /// When people have to approve a delegation, waits for them that long, and asks again. `told` hears of the approval
    /// that is waited for.
    pub fn wait_for_approval(
        mut self,
        at_most: Duration,
        told: impl Fn(&v1::Approval) + Send + Sync + 'static,
    ) -> Self {
        self.patience = Some(Patience::new(at_most, told));
        self
    }

    /// The idempotency key; a fresh one when not said.
    pub fn request_id(mut self, request_id: impl Into<String>) -> Self {
        self.request.request_id = request_id.into();
        self
    }

    /// Declares it. The guard ends the task when it is dropped.
    pub async fn start(mut self) -> Result<Task, Error> {
        self.request.ttl = self.ttl.map(span).transpose()?;
        self.request.heartbeat_interval = self.heartbeat.map(span).transpose()?;
        broker::name(&mut self.request.request_id);
        let asking = || self.broker.start_task(self.request.clone());
        let record = self.broker.approved(self.patience.as_ref(), asking).await?;
        Ok(Task::guard(self.broker, record, true))
    }
}

/// A task that runs. The guard shows life by itself.
///
/// Dropped without [`Task::complete`], it calls the task off in the background. Only a runtime that goes on can do that
/// (see [`Broker::drain`]); a process that dies is what the heartbeat is for.
#[must_use = "dropping the guard cancels the task"]
pub struct Task {
    broker: Broker,
    record: v1::Task,
    /// Why the broker no longer takes signs of life.
    ended: watch::Receiver<Option<Error>>,
    /// Where the last word is spoken when the guard is dropped; `None`: none is due.
    cancel_on: Option<Handle>,
    _stop: DropGuard,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.record.id).finish_non_exhaustive()
    }
}

impl Task {
    /// Joins a task that is there already, given its id or the beginning of it. Shows life for it; whoever started it
    /// ends it: dropping this guard does not.
    pub async fn attach(broker: &Broker, task: impl Into<String>) -> Result<Self, Error> {
        let record = broker.find_task(task).await?;
        Ok(Self::guard(broker.clone(), record, false))
    }

    /// Its id, `tk_…`.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The broker's record of it, as of its start.
    pub fn record(&self) -> &v1::Task {
        &self.record
    }

    /// Begins to hand a part of it on: a narrower task, for another agent or ourselves, that ends with this one.
    pub fn delegate(&self, purpose: impl Into<String>) -> TaskBuilder {
        self.broker.task(purpose).parent(&self.record.id)
    }

    /// Begins to ask for a credential for one resource.
    pub fn lease(&self, resource: impl Into<String>) -> LeaseBuilder {
        LeaseBuilder::new(self.broker.clone(), self.record.id.clone(), resource.into())
    }

    /// Declares it done. Everything under it dies by one write.
    pub async fn complete(mut self) -> Result<v1::Task, Error> {
        let record = self.broker.complete_task(&self.record.id).await?;
        self.cancel_on = None;
        Ok(record)
    }

    /// Calls it off; `reason` is for the audit log. Everything under it dies by one write.
    pub async fn cancel(mut self, reason: impl Into<String>) -> Result<v1::Task, Error> {
        let record = self.broker.cancel_task(&self.record.id, reason).await?;
        self.cancel_on = None;
        Ok(record)
    }

    /// Gives up the guard and lets the task run: nothing shows life for it from here on.
    pub fn release(mut self) -> v1::Task {
        self.cancel_on = None;
        self.record.clone()
    }

    /// Waits until the broker refuses a sign of life and says why: the task has ended. Never for a task without a
    /// heartbeat.
    pub async fn ended(&self) -> Error {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(error)) => error.clone(),
            _ => std::future::pending().await,
        }
    }

    fn guard(broker: Broker, record: v1::Task, cancel_on_drop: bool) -> Self {
        let stop = CancellationToken::new();
        let (report, ended) = watch::channel(None);
        let every = record.heartbeat_interval.and_then(duration);
        if let Some(every) = every.filter(|every| !every.is_zero() && record.end.is_none()) {
            let beat = beat(broker.clone(), record.id.clone(), every, report);
            broker.keepers.spawn(stop.clone().run_until_cancelled_owned(beat));
        }
        let cancel_on = cancel_on_drop.then(Handle::try_current).and_then(Result::ok);
        Self { broker, record, ended, cancel_on, _stop: stop.drop_guard() }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let Some(runtime) = self.cancel_on.take() else {
            return;
        };
        let (broker, id) = (self.broker.clone(), self.record.id.clone());
        let ending = async move {
            if let Err(error) = broker.cancel_task(&id, "its guard was dropped").await {
                tracing::warn!(task = id, %error, "cannot cancel the task, its heartbeat or deadline will end it");
            }
        };
        self.broker.endings.spawn_on(ending, &runtime);
    }
}

/// Shows life until the broker refuses; a broker that cannot be reached is tried again at the next beat.
async fn beat(broker: Broker, task: String, every: Duration, report: watch::Sender<Option<Error>>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match broker.heartbeat(&task).await {
            Ok(_) => {}
            Err(error) if error.is_retryable() => tracing::warn!(task, %error, "a heartbeat is missing"),
            Err(error) => {
                tracing::warn!(task, %error, "the task has ended");
                report.send_replace(Some(error));
                return;
            }
        }
    }
}
