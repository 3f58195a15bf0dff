//! What policy ties a permission to, enforced in the same step that uses the permission, so that no race gets around it.

use crate::Task;
use taskpass_types::{Obligations, Reason, Refusal, Revocability};

/// Whether what the credential promises is as much as policy wants.
pub(crate) fn promised(
    obligations: &Obligations,
    revocability: Option<Revocability>,
    bound: bool,
) -> Result<(), Refusal> {
    if let Some(least) = obligations.revocability
        && revocability < Some(least)
    {
        let promise = revocability.map_or("nothing", Revocability::as_str);
        return Err(Refusal::new(
            Reason::ObligationUnmet,
            format!("policy wants a credential whose revocability is at least `{least}`; this promises `{promise}`"),
        )
        .fix("ask for a kind of credential that can be revoked sooner")
        .with("obligation", "revocability")
        .with("required", least));
    }
    if obligations.bound && !bound {
        return Err(Refusal::new(
            Reason::ObligationUnmet,
            "policy wants a credential that is bound to a key; this one is not",
        )
        .fix("connect with a client certificate, or ask for a certificate, so that there is a key to bind to")
        .with("obligation", "bound"));
    }
    Ok(())
}

/// Whether one more credential is within the budget of the root task.
pub(crate) fn credentials_left(root: &Task, obligations: &Obligations) -> Result<(), Refusal> {
    match obligations.max_credentials {
        Some(max) if root.issued >= max => {
            Err(budget_exceeded(format!("{max} credentials for task `{}` and all below it", root.id))
                .fix("end the task and start another one, or let the operator raise the budget")
                .with("budget", "max_credentials")
                .with("limit", max)
                .with("task", root.id))
        }
        _ => Ok(()),
    }
}

pub(crate) fn budget_exceeded(what: String) -> Refusal {
    Refusal::new(Reason::BudgetExceeded, format!("the budget is used up: {what}"))
}
