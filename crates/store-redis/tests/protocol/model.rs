//! The protocol as stateright sees it: what may happen next, and what must always hold.

use crate::{
    broker::{Broker, Change},
    design::{Budget, Design, Scenario},
    ledger::{CHILD, PARENT, Tasks},
    world::World,
};
use stateright::{Model, Property};
use std::{fmt, ops::Range};

/// What must hold, after the invariants of the design.
pub(crate) const ISSUE: &str = "I5: nothing is issued or renewed under an acknowledged end";
pub(crate) const RELEASE: &str = "I5: nothing is released under an acknowledged end";
pub(crate) const OWN: &str = "I5: no broker releases under an end that it noted";
pub(crate) const FORGET: &str =
    "I6: who serves has every acknowledged end and policy, and every end it noted";
pub(crate) const POLICY: &str = "I1: nothing is released under an older policy";
pub(crate) const ONCE: &str = "I3: one request, one lease";

/// What must be reached, or the rest says nothing.
pub(crate) const MUST_BE_REACHED: [&str; 3] = [RELEASED, CHANGED, RECOVERED];
const RELEASED: &str = "a credential is released, if one is asked for";
const CHANGED: &str = "an end or a policy is acknowledged, if there is one";
const RECOVERED: &str = "all brokers serve another generation";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) design: Design,
    pub(crate) scenario: Scenario,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Broker(usize, Step),
    Replicate(usize),
    Attach(usize),
    FailOver { to: usize, cut_off: bool },
    Wipe,
    BackUp,
    Restore,
}

/// Short: a counterexample is a line of these.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(at, step) => write!(f, "{}:{step:?}", ["A", "B", "C"].get(*at).unwrap_or(&"?")),
            Self::Replicate(at) => write!(f, "Replicate({at})"),
            Self::Attach(at) => write!(f, "Attach({at})"),
            Self::FailOver { to, cut_off: false } => write!(f, "FailOver({to})"),
            Self::FailOver { to, cut_off: true } => write!(f, "FailOver({to}, old cut off)"),
            Self::Wipe => f.write_str("Wipe"),
            Self::BackUp => f.write_str("BackUp"),
            Self::Restore => f.write_str("Restore"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Issue,
    Renew,
    Intend,
    IntentDurable,
    Look,
    Prove,
    LookDurable,
    GiveUp,
    End(Tasks),
    SetPolicy,
    CommitChange,
    ChangeDurable,
    NoteEnd,
    Crash,
    Notice,
    Begin(usize),
    Replay,
    Serve,
}

/// What a broker could do next.
fn steps(broker: &Broker, left: &Budget, servers: Range<usize>) -> impl Iterator<Item = Step> {
    use Step::{ChangeDurable, CommitChange, Crash, End, GiveUp, Intend, IntentDurable, Issue, Look};
    use Step::{LookDurable, NoteEnd, Notice, Prove, Renew, Replay, Serve, SetPolicy};
    let ask: &[Step] = match broker.asked() {
        true => &[Intend, IntentDurable, Look, Prove, LookDurable, GiveUp],
        false if left.issues + left.renewals > 0 => &[Issue, Renew],
        false => &[],
    };
    let change: &[Step] = match broker.changes() {
        true => &[CommitChange, ChangeDurable, NoteEnd],
        false if left.ends + left.policies > 0 => &[End(CHILD), End(PARENT), SetPolicy],
        false => &[],
    };
    let recovery: &[Step] = if broker.session().is_some() { &[Notice] } else { &[Notice, Replay, Serve] };
    let crash: &[Step] = if left.crashes > 0 { &[Crash] } else { &[] };
    let begin = servers.map(Step::Begin).filter(|_| broker.lost());
    [ask, change, recovery, crash].into_iter().flatten().copied().chain(begin)
}

impl Protocol {
    fn broker_step(&self, world: &mut World, at: usize, step: Step) -> Option<()> {
        let design = &self.design;
        match step {
            Step::Issue => world.ask(design, at, false),
            Step::Renew => world.ask(design, at, true),
            Step::Intend => world.intend(design, at),
            Step::IntentDurable => world.intent_durable(design, at),
            Step::Look => world.look(design, at),
            Step::Prove => world.prove(design, at),
            Step::LookDurable => world.look_durable(design, at),
            Step::GiveUp => world.give_up(at),
            Step::End(tasks) => world.change(design, at, Change::End(tasks)),
            Step::SetPolicy => world.change(design, at, Change::Policy),
            Step::CommitChange => world.commit_change(design, at),
            Step::ChangeDurable => world.change_durable(design, at),
            Step::NoteEnd => world.note_end(design, at),
            Step::Crash => world.crash(at),
            Step::Notice => world.notice(at),
            Step::Begin(to) => world.begin(design, at, to),
            Step::Replay => world.replay(design, at),
            Step::Serve => world.serve(design, at),
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.scenario)]
    }

    /// All that could be; what cannot is sorted out by `next_state`.
    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (at, broker) in world.brokers.iter().enumerate() {
            let servers = world.servers.indices();
            actions.extend(steps(broker, &world.left, servers).map(|step| Action::Broker(at, step)));
        }
        for at in world.servers.indices() {
            actions.extend([Action::Replicate(at), Action::Attach(at)]);
            if world.left.failovers > 0 {
                let ways = if self.scenario.partition { &[false, true][..] } else { &[false] };
                actions.extend(ways.iter().map(|cut_off| Action::FailOver { to: at, cut_off: *cut_off }));
            }
        }
        actions.extend((world.left.wipes > 0).then_some(Action::Wipe));
        if world.left.restores > 0 {
            actions.extend([Action::BackUp, Action::Restore]);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Broker(at, step) => self.broker_step(&mut world, at, step)?,
            Action::Replicate(at) => world.servers.replicate(at)?,
            Action::Attach(at) => world.attach(at)?,
            Action::FailOver { to, cut_off } => world.fail_over(&self.design, to, cut_off)?,
            Action::Wipe => world.wipe()?,
            Action::BackUp => world.back_up()?,
            Action::Restore => world.restore()?,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ISSUE, |_, world: &World| !world.witness.issued_late),
            Property::always(RELEASE, |_, world: &World| !world.witness.released_late),
            Property::always(OWN, |_, world: &World| !world.witness.released_own),
            Property::always(POLICY, |_, world: &World| !world.witness.released_old),
            Property::always(ONCE, |_, world: &World| world.witness.released.count_ones() <= 1),
            Property::always(FORGET, |model: &Self, world: &World| world.remembers(&model.design)),
            Property::sometimes(RELEASED, |model: &Self, world: &World| {
                model.scenario.budget.issues == 0 || world.witness.released != 0
            }),
            Property::sometimes(CHANGED, |model: &Self, world: &World| {
                let Budget { ends, policies, .. } = model.scenario.budget;
                ends + policies == 0 || world.witness.path_ended() || world.witness.policy > 1
            }),
            Property::sometimes(RECOVERED, |model: &Self, world: &World| {
                world.brokers.iter().all(|broker| {
                    world.serves(broker, &model.design)
                        && broker.session().is_some_and(|session| session.generation > 1)
                })
            }),
        ]
    }
}
