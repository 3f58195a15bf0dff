//! A task that has just ended, and which verifiers enforce it.

use crate::{
    args::Verifiers,
    error::{Exit, Failure},
    output::{Record, Style},
    session::{Outcome, Session},
    view::{EnforcementView, TaskView},
};
use serde::Serialize;
use taskpass_proto::v1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndedView {
    #[serde(flatten)]
    task: TaskView,
    /// Null: not waited for, or it ended with what was above it.
    enforcement: Option<EnforcementView>,
}

impl EndedView {
    pub(super) fn show(
        task: Option<v1::Task>,
        enforcement: Option<v1::Enforcement>,
        verifiers: Verifiers,
        session: &Session,
    ) -> Outcome {
        let task =
            task.ok_or_else(|| Failure::new(Exit::Unexpected, "the broker's answer has no task in it"))?;
        let task = TaskView::new(task, session.now());
        let ended = Self { task, enforcement: enforcement.map(EnforcementView::from) };
        session.out.one(&ended)?;
        session
            .out
            .hint(&format!("taskpass lease list --all --task {}", session.out.style.id(&ended.task.id)));
        Ok(verifiers.exit([&ended.enforcement]))
    }
}

impl Record for EndedView {
    const KIND: &'static str = TaskView::KIND;
    const COLUMNS: &'static [&'static str] = TaskView::COLUMNS;

    fn name(&self) -> String {
        self.task.name()
    }

    fn row(&self, style: &Style) -> Vec<String> {
        self.task.row(style)
    }

    fn details(&self, style: &Style) -> Vec<(&'static str, String)> {
        let enforced = self.enforcement.iter().flat_map(|enforcement| enforcement.details(style));
        self.task.details(style).into_iter().chain(enforced).collect()
    }
}
