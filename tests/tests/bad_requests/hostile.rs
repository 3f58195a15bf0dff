//! Texts that would take over a terminal, end a line or turn it round: as names refused, as words made harmless.

use super::Desk;
use taskpass_e2e::{program, run, start, token};
use taskpass_proto::v1::{IssueCredentialRequest, StartTaskRequest};
use tonic::Code;

const HOSTILE: [&str; 6] = [
    "\u{1b}]0;owned\u{7}\u{1b}[2J",
    "nul\0byte",
    "two\nlines\r\n{\"seq\":1}",
    "right\u{202e}left",
    "zero\u{200b}width",
    "\u{9b}31m",
];

/// Nothing in it that a terminal would act on or that a reader would not see.
fn is_harmless(text: &str) -> bool {
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.contains(bad)
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_no_names() {
    let desk = Desk::open().await;
    for hostile in HOSTILE {
        let text = || hostile.to_owned();
        for (field, request) in [
            ("request_id", StartTaskRequest { request_id: text(), ..start() }),
            ("kind", StartTaskRequest { kind: text(), ..start() }),
            ("initiator", StartTaskRequest { initiator: text(), ..start() }),
            ("agent", StartTaskRequest { agent: text(), ..start() }),
            ("scopes", StartTaskRequest { scopes: vec![format!("demo-api:{hostile}")], ..start() }),
            ("scopes", StartTaskRequest { scopes: vec![text()], ..start() }),
        ] {
            let since = desk.world.next_entry();
            let refused = desk.agent.start_task(request).await.unwrap_err();
            desk.refused(field, since, &refused, (Code::InvalidArgument, "FIELD_INVALID")).await;
            assert_eq!(refused.about("field"), field, "{hostile:?}");
            assert!(is_harmless(&refused.message), "{refused:?}");
        }
        for (field, request) in [
            ("id", IssueCredentialRequest { task_id: text(), ..token(&desk.task.id) }),
            ("id", IssueCredentialRequest { task_id: format!("tk_{hostile}"), ..token(&desk.task.id) }),
            ("resource", IssueCredentialRequest { resource: text(), ..token(&desk.task.id) }),
            ("actions", IssueCredentialRequest { actions: vec![text()], ..token(&desk.task.id) }),
        ] {
            let since = desk.world.next_entry();
            let refused = desk.agent.issue(request).await.unwrap_err();
            desk.refused(field, since, &refused, (Code::InvalidArgument, "FIELD_INVALID")).await;
            assert!(is_harmless(&refused.message), "{refused:?}");
        }
    }
    desk.close(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_words_they_come_out_harmless_everywhere() {
    let desk = Desk::open().await;
    for hostile in HOSTILE {
        let labels = [(hostile.to_owned(), hostile.to_owned())].into();
        let request = StartTaskRequest { purpose: hostile.to_owned(), labels, ..start() };
        let task = desk.agent.start_task(request).await.unwrap();
        // The API gives back what it was given: only what shows it has to know for whom.
        assert_eq!(task.purpose, hostile);
        let entry = desk
            .world
            .recorded("the start", |entry| entry.code == "TP101S" && entry.task.as_deref() == Some(&task.id))
            .await;
        let words = [entry.purpose.as_deref().unwrap(), &entry.labels.concat()].concat();
        assert!(is_harmless(&words) && !words.contains('\n'), "{words:?}");
        for args in [
            &["task", "show", &task.id][..],
            &["task", "list"],
            &["audit", "tail"],
            &["task", "list", "-o", "json"],
        ] {
            let mut command = program(args);
            command.env("TASKPASS_SOCKET", desk.world.path("api.sock"));
            let shown = run(command).await;
            assert_eq!(shown.code, 0, "{args:?}: {}", shown.stderr);
            assert!(is_harmless(&shown.stdout), "{args:?} prints {:?}", shown.stdout);
        }
    }
    let log = std::fs::read_to_string(desk.world.audit().join(taskpass_audit::LOG_FILE)).unwrap();
    assert!(is_harmless(&log));
    assert!(is_harmless(&desk.broker.log()), "{}", desk.broker.log());
    desk.close(0).await;
}
