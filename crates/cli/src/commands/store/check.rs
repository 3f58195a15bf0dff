//! `taskpass store check`: proves what the store promises.

use super::Whose;
use crate::{
    compose,
    config::Config,
    session::{Outcome, Session},
    view::show_report,
};
use clap::Args;
use taskpass_store::{Mark, Report};
use taskpass_types::Clock;

/// Prove that the store keeps what it promises
#[derive(Args)]
#[command(after_help = "Examples:
  taskpass store check
  taskpass store check --config taskpass.toml -o json

It writes to a key or file of its own and changes nothing else; brokers may run. Exit code 10 when a line fails.")]
pub(crate) struct Check {
    #[command(flatten)]
    whose: Whose,
}

impl Check {
    pub(super) async fn run(self, session: &Session) -> Outcome {
        let report = report(&self.whose.load()?, &session.clock).await;
        Ok(show_report(&report, &session.out)?)
    }
}

/// What a check of the store sees.
pub(in crate::commands) async fn report(config: &Config, clock: &dyn Clock) -> Report {
    let Some(redis) = &config.store.redis else {
        return taskpass_store_redb::check::check(&config.data.store());
    };
    match compose::settings(redis) {
        Ok(settings) => taskpass_store_redis::check::check(&settings, clock).await,
        Err(error) => {
            let mut report = Report::default();
            let fix = "put it there, readable for the broker's user only; see [store.redis]";
            report.say(Mark::Fail, "password", error.to_string(), fix);
            report
        }
    }
}
