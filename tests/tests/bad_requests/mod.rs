//! What is wrong with a request is said with a code, a reason and a way out; it is written down, and nothing suffers.

mod certificates;
mod fields;
mod foreign;
mod hostile;
mod repeats;
mod scopes;

use taskpass_e2e::{Broker, Client, Refused, World, start};
use taskpass_proto::v1::Task;
use tonic::Code;

/// A broker, an agent and its task.
struct Desk {
    world: World,
    broker: Broker,
    agent: Client,
    task: Task,
}

impl Desk {
    async fn open() -> Self {
        let world = World::new();
        let broker = Broker::start(&world).await;
        let agent = world.connect("dev/bot").await;
        let task = agent.start_task(start()).await.unwrap();
        Self { world, broker, agent, task }
    }

    /// Checks what the agent was told, and waits until it is written down. `since` is the log's next entry before it
    /// asked.
    async fn refused(&self, what: &str, since: u64, refused: &Refused, expected: (Code, &str)) {
        assert_eq!(refused.says(), expected, "{what}: {refused:?}");
        assert_eq!(refused.domain, "taskpass.v1", "{what}");
        assert!(!refused.message.is_empty() && !refused.message.ends_with('.'), "{what}: {refused:?}");
        self.world.recorded_refusal(since, "agent/dev/bot", expected.1).await;
    }

    /// Nothing was issued, and all is well.
    async fn close(self, issued: usize) {
        // The intent is durable before anything is signed; the outcome may still be on its way.
        let signed = self.world.entries().iter().filter(|entry| entry.code == "TP201I").count();
        assert_eq!(signed, issued, "something was issued besides");
        self.broker.assert_well(&self.world).await;
    }
}

/// Any number of seconds that protobuf can say.
fn span(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}
