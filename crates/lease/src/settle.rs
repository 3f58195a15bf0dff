//! Marking what an ended task took with it. The deny record has already cut it all off; this only makes the records say
//! so, in slices, off the hot path.

use crate::{Effects, End, LeaseState, Outcome, Settled, Task, TaskState, View};
use taskpass_types::EndReason;

pub(crate) fn settle_task(view: View) -> Effects {
    let Some(task) = view.task else { return Effects::default() };
    let Some(end) = task.end().cloned() else { return Effects::default() };
    let mut settled = Settled::default();
    for mut lease in view.leases_below {
        if lease.end().is_none() {
            lease.state = LeaseState::Ended(end.clone());
            settled.leases.push(lease);
        }
    }
    for mut child in view.children_below {
        if child.end().is_none() {
            child.state = TaskState::Ended(End { reason: EndReason::ParentEnded, ..end.clone() });
            settled.tasks.push(child);
        }
    }
    let marked = u32::try_from(settled.leases.len().saturating_add(settled.tasks.len())).unwrap_or(u32::MAX);
    // Nothing left to mark although the count says so: the count gives way, or this task would be due for ever.
    let live_below = if marked == 0 { 0 } else { task.live_below.saturating_sub(marked) };
    let task = Task { live_below, ..task };
    settled.more = live_below > 0;
    Effects {
        tasks: settled.tasks.iter().cloned().chain([task]).collect(),
        leases: settled.leases.clone(),
        outcome: Outcome::Settled(settled),
        ..Effects::default()
    }
}
