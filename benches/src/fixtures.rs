//! Inputs that the load generator and the benchmarks share.

use taskpass_policy::demo::DEMO;

/// How many policies the demo has.
const IN_DEMO: usize = 5;

/// The demo's policies and, up to `count`, those of other agents: what a decision must not get slower by.
pub fn policies(count: usize) -> Vec<(String, String)> {
    let demo = DEMO.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let others = (IN_DEMO..count).map(|n| {
        format!(
            "@id(\"other-{n}\") @max_ttl(\"10m\")\n\
             permit (principal == Agent::\"other/agent-{n}\", action, resource == Resource::\"other-{n}\")\n\
             when {{ context.ttl_seconds <= 900 && context.task.kind == \"task\" }};\n"
        )
    });
    demo.chain([("others.cedar".to_owned(), others.collect())]).collect()
}
