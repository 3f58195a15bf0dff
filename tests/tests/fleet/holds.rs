//! What an operator's kill leaves behind: the agent does not get the same again.

use super::Fleet;
use taskpass_e2e::{start, token, until};

/// The kill is in the broker's journal, the ledger cannot take it, and comes back as another process: the broker writes its
/// ends again before the operator has an answer. That must be the kill that was asked for, hold and all.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_that_is_written_again_still_holds() {
    let fleet = Fleet::start(1).await;
    let (agent, operator) = (fleet.worlds[0].connect_local().await, fleet.worlds[0].connect_local().await);
    let task = agent.start_task(start()).await.unwrap();
    let (lease, _) = agent.issue_token(token(&task.id)).await.unwrap();
    fleet.server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.accepted();
    let (killed, ()) = tokio::join!(operator.kill(&lease.id), async {
        let kept = fleet.worlds[0].path("data/ends/taskpass/ends-0");
        until("the kill is in the journal", async || {
            let bytes = std::fs::read(&kept).ok()?;
            bytes.windows(4).any(|bytes| bytes == b"maya").then_some(())
        })
        .await;
        fleet.server.kill();
        fleet.server.restart().await;
    });
    killed.unwrap();
    let refused = until("it answers", async || {
        agent.issue_token(token(&task.id)).await.err().filter(|why| why.reason != "STORE_UNAVAILABLE")
    });
    let refused = tokio::time::timeout(std::time::Duration::from_secs(5), refused).await;
    assert_eq!(refused.expect("it was granted again").reason, "HELD_AFTER_KILL");
}
