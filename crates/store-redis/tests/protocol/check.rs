//! Runs the checker and says what it found.

use crate::{
    design::{Design, Scenario},
    model::{MUST_BE_REACHED, Protocol},
};
use stateright::{Checker as _, HasDiscoveries, Model as _};
use std::collections::BTreeSet;

/// What a run found.
struct Findings {
    states: usize,
    /// Properties that do not hold, each with a way there.
    refuted: Vec<(&'static str, String)>,
    /// What was reached of that which must be.
    reached: BTreeSet<&'static str>,
}

fn run(design: Design, scenario: Scenario, until: HasDiscoveries) -> Findings {
    let checker = Protocol { design, scenario }.checker().finish_when(until).spawn_bfs().join();
    let mut findings =
        Findings { states: checker.unique_state_count(), refuted: Vec::new(), reached: BTreeSet::new() };
    for (property, path) in checker.discoveries() {
        if MUST_BE_REACHED.contains(&property) {
            findings.reached.insert(property);
        } else {
            let steps: Vec<_> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
            findings.refuted.push((property, steps.join(" > ")));
        }
    }
    findings
}

/// A design in a scenario.
pub(crate) struct Case<'a> {
    pub(crate) name: &'a str,
    pub(crate) design: Design,
    pub(crate) scenario: Scenario,
}

impl Case<'_> {
    /// Everything holds in all reachable states, which are more than `floor`.
    #[track_caller]
    pub(crate) fn holds(&self, floor: usize) {
        self.gives_up(&[], floor);
    }

    /// Everything holds but `limits`, which do not.
    #[track_caller]
    pub(crate) fn gives_up(&self, limits: &[&'static str], floor: usize) {
        let Self { name, design, scenario } = self;
        let findings = run(*design, *scenario, HasDiscoveries::All);
        println!("{name}: {} unique states", findings.states);
        for (property, path) in &findings.refuted {
            println!("  refutes {property}\n    {path}");
        }
        let refuted: BTreeSet<_> = findings.refuted.iter().map(|(property, _)| *property).collect();
        assert_eq!(refuted, limits.iter().copied().collect(), "{name}");
        assert_eq!(findings.reached, BTreeSet::from(MUST_BE_REACHED), "{name}");
        assert!(findings.states > floor, "{name}: the model shrank to {} states", findings.states);
    }

    /// There is a way to break `property`.
    #[track_caller]
    pub(crate) fn refutes(&self, property: &'static str) {
        let Self { name, design, scenario } = self;
        let findings = run(*design, *scenario, HasDiscoveries::AllOf(BTreeSet::from([property])));
        println!("{name}: {} unique states until it refutes {property}", findings.states);
        let path = findings.refuted.iter().find(|(found, _)| *found == property).map(|(_, path)| path);
        assert!(path.is_some(), "{name}: nothing refutes {property} in {} states", findings.states);
        println!("    {}", path.map_or("", String::as_str));
    }
}
