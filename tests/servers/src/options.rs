//! How a server is configured, and the configuration file that comes of it.

use crate::tls;
use std::fmt::Write as _;

/// How to start a [`Server`](crate::Server). The default is a primary that loses nothing it acknowledged: `appendonly
/// yes`, `appendfsync always`, no snapshots.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Further lines of the configuration file. They come last, so they win.
    pub lines: Vec<String>,
    /// The content of an ACL file, for instance `user default off`.
    pub users_acl: Option<String>,
    /// User and password with which the harness logs in for its own commands, where the default user may not.
    pub login: Option<(String, String)>,
    /// Whether the port speaks TLS, with certificates made for this server, and nothing speaks plain TCP.
    pub tls: bool,
    /// The port on 127.0.0.1 at which the primary is reached.
    pub replica_of: Option<u16>,
}

pub(crate) const SOCKET: &str = "socket";
pub(crate) const USERS: &str = "users.acl";

impl Options {
    /// The configuration file. Names in it are relative to the server's directory, in which it runs.
    pub(crate) fn file(&self, port: u16) -> String {
        let mut file = listener(port, self.tls);
        // Without the delay, because a full synchronisation else waits 5 s for more replicas.
        file.push_str("save \"\"\nappendonly yes\nappendfsync always\nrepl-diskless-sync-delay 0\n");
        if self.users_acl.is_some() {
            writeln!(file, "aclfile {USERS}").unwrap();
        }
        if let Some(primary) = self.replica_of {
            writeln!(file, "replicaof 127.0.0.1 {primary}").unwrap();
        }
        for line in &self.lines {
            writeln!(file, "{line}").unwrap();
        }
        file
    }
}

/// The lines that a Sentinel needs too.
///
/// The Unix socket is the harness's own entrance: nobody but this server answers there, with TLS or without.
pub(crate) fn listener(port: u16, tls: bool) -> String {
    let port = if tls {
        format!(
            "port 0\ntls-port {port}\ntls-auth-clients no\ntls-ca-cert-file {}\ntls-cert-file {}\ntls-key-file {}",
            tls::CA,
            tls::CERTIFICATE,
            tls::KEY
        )
    } else {
        format!("port {port}")
    };
    format!("bind 127.0.0.1\nprotected-mode no\nunixsocket {SOCKET}\nunixsocketperm 700\ndir .\n{port}\n")
}
