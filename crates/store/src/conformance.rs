//! What every adapter has to do alike: one function per behaviour, generic over the [`Home`] of a store.
//!
//! An adapter implements [`Home`] in its tests and mounts all of them with [`crate::conformance_suite`]. Everything is
//! looked at after [`Home::crash`], so that what was acknowledged is also what is durable.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a suite of tests may panic"
)]

mod approvals;
mod budgets;
mod drift;
mod end;
pub mod events;
mod followers;
mod issue;
mod list;
mod policies;
mod schedule;
mod tenants;
mod wide;
mod world;

pub use approvals::*;
pub use budgets::*;
pub use drift::*;
pub use end::*;
pub use followers::*;
pub use issue::*;
pub use list::*;
pub use policies::*;
pub use schedule::*;
pub use tenants::*;
pub use wide::*;
pub use world::Home;

/// Makes one test of each behaviour. `$home` is an expression that makes a fresh [`Home`]; it runs once per test. The
/// calling crate needs `tokio` with its macros.
#[macro_export]
macro_rules! conformance_suite {
    ($home:expr) => {
        $crate::conformance_behaviours! { conformance_suite; $home }
    };
    ($home:expr; $($behaviour:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                $crate::conformance::$behaviour($home).await;
            }
        )*
    };
}

/// Runs one behaviour after the other, for a place that takes long to set up.
#[macro_export]
macro_rules! conformance_in_turn {
    ($home:expr) => {
        $crate::conformance_behaviours! { conformance_in_turn; $home }
    };
    ($home:expr; $($behaviour:ident,)*) => {{
        $(
            eprintln!("{}", stringify!($behaviour));
            $crate::conformance::$behaviour($home).await;
        )*
    }};
}

/// Hands all behaviours to one of the two above.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_behaviours {
    ($run:ident; $home:expr) => {
        $crate::$run! { $home;
            a_task_starts_and_its_leases_live_under_it,
            the_same_request_gets_the_same_answer,
            a_request_id_is_good_for_one_request,
            a_repeat_after_the_end_says_ended,
            a_renewal_counts_and_its_repeat_does_not,
            only_the_policies_in_force_count,
            parallel_requests_share_one_quota,
            quotas_count_what_runs_and_what_was_issued,
            one_deny_record_ends_a_tree,
            nothing_comes_to_life_under_an_end,
            an_end_happens_once,
            a_hold_lasts_until_it_is_released,
            epochs_are_contiguous_and_read_in_order,
            every_deny_record_is_announced,
            standing_sees_every_kind_of_end,
            the_schedule_is_in_order_and_bounded,
            deadlines_and_silence_end_tasks,
            leases_expire_without_a_deny_record,
            a_large_task_is_settled_in_slices,
            records_go_after_their_retention,
            deny_records_outlive_their_credentials,
            pages_are_newest_first_and_complete,
            pages_of_one_task_survive_changes_between_them,
            children_are_found_by_their_parent,
            filters_keep_what_they_say,
            an_approval_survives_and_is_found,
            one_approval_is_used_once_however_many_ask,
            a_delegation_finds_the_parents_approval,
            every_approval_is_announced,
            approvals_expire_and_go,
            a_newer_approval_keeps_its_place,
            pages_of_approvals_are_newest_first_and_filtered,
            waiting_approvals_are_counted_per_agent,
            a_budget_of_credentials_holds_exactly,
            a_budget_of_calls_holds_exactly,
            a_budget_of_uses_holds_exactly,
            calls_are_counted_and_survive,
            a_hold_without_an_end_lasts_too,
            cuts_come_due_and_deny,
            rechecks_come_due_again,
            the_history_of_policies_is_in_order_and_whole,
            the_history_of_policies_is_bounded,
            only_an_expected_change_of_policies_passes,
            a_wide_end_takes_all_that_was_before,
            what_a_wide_end_took_is_marked_in_time,
            an_agents_end_reaches_what_it_handed_on,
            a_wide_hold_stops_all_until_it_is_released,
            a_wide_hold_for_a_time_ends_with_it,
            a_wide_end_that_is_repeated_happens_once,
            wide_bars_are_bounded,
            a_forgotten_wide_end_stays_one,
            a_wide_end_stays_in_its_tenant,
            every_broker_says_who_follows_it,
            tenants_do_not_meet,
            a_history_outlives_its_process,
        }
    };
}
