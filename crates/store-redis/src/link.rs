//! Finding the primary and talking to it.
//!
//! A link is one connection for writes, on which `WAIT` means something, and one for reads, both to the same server. It is
//! never repaired: when anything goes wrong it is dropped, the primary is found anew, and what is there is looked at anew.

use crate::{
    error::Trouble,
    scripts::Caller,
    settings::{Account, Address, Place, Settings, TlsFiles},
};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, TlsCertificates, Value, aio::MultiplexedConnection, cmd, io::tcp::TcpSettings,
};
use std::{collections::HashMap, path::Path};

/// Both connections, and who is at the other end.
pub(crate) struct Link {
    pub(crate) writer: Caller,
    pub(crate) reader: Caller,
    pub(crate) home: String,
    pub(crate) client: Client,
}

impl Link {
    /// Finds the primary and connects.
    pub(crate) async fn open(settings: &Settings, slot_key: &[u8]) -> Result<Self, Trouble> {
        let address = find(settings, slot_key).await?;
        let client = client(settings, &address, settings.account.as_ref())?;
        let mut connection = connect(settings, &client).await?;
        let home = home(&mut connection, &address).await?;
        let mut second = connect(settings, &client).await?;
        if self::home(&mut second, &address).await? != home {
            return Err(Trouble::Refused(format!(
                "`{address}` is another server from one moment to the next"
            )));
        }
        let writer = Caller::prepare(connection).await?;
        let reader = writer.on(second);
        Ok(Self { writer, reader, home, client })
    }
}

/// Where the primary is now.
async fn find(settings: &Settings, slot_key: &[u8]) -> Result<Address, Trouble> {
    let mut last = Trouble::Refused("no address is configured".to_owned());
    let (asked, account) = match &settings.place {
        Place::Single(address) => return Ok(address.clone()),
        Place::Sentinel { sentinels, .. } => (sentinels, settings.sentinel_account.as_ref()),
        Place::Cluster(nodes) => (nodes, settings.account.as_ref()),
    };
    for address in asked {
        match ask(settings, address, account, slot_key).await {
            Ok(Some(primary)) => return Ok(primary),
            Ok(None) => last = Trouble::Refused(format!("`{address}` knows no primary")),
            Err(trouble) => last = Trouble::Refused(format!("`{address}`: {trouble}")),
        }
    }
    Err(last)
}

async fn ask(
    settings: &Settings,
    address: &Address,
    account: Option<&Account>,
    slot_key: &[u8],
) -> Result<Option<Address>, Trouble> {
    let mut connection = connect(settings, &client(settings, address, account)?).await?;
    if let Place::Sentinel { service, .. } = &settings.place {
        let mut question = cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(service);
        let answer: Option<(String, u16)> = question.query_async(&mut connection).await?;
        return Ok(answer.map(|(host, port)| Address { host, port }));
    }
    let slot: i64 = cmd("CLUSTER").arg("KEYSLOT").arg(slot_key).query_async(&mut connection).await?;
    let Value::Array(ranges) = cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await? else {
        return Err(Trouble::unexpected("the slots of the cluster are no list"));
    };
    Ok(ranges.iter().find_map(|range| owner(range, slot, &address.host)))
}

/// Who has `slot`, if this range has it: first, last, then the primary as host and port. A node that does not know its own
/// host leaves it empty, which means the one that was asked.
fn owner(range: &Value, slot: i64, asked: &str) -> Option<Address> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
        _ => asked.to_owned(),
    };
    (*first..=*last).contains(&slot).then_some(Address { host, port: u16::try_from(*port).ok()? })
}

/// Who this server is, if it is a primary: a new one after each start.
async fn home(connection: &mut MultiplexedConnection, address: &Address) -> Result<String, Trouble> {
    let server = info(connection, "server").await?;
    let replication = info(connection, "replication").await?;
    if replication.get("role").map(String::as_str) != Some("master") {
        return Err(Trouble::Refused(format!("`{address}` is no primary")));
    }
    let part = |section: &HashMap<String, String>, name: &str| {
        section.get(name).cloned().ok_or_else(|| Trouble::unexpected("the server does not say who it is"))
    };
    Ok(format!("{}/{}", part(&server, "run_id")?, part(&replication, "master_replid")?))
}

/// One section of what a server says about itself.
pub(crate) async fn info(
    connection: &mut MultiplexedConnection,
    section: &str,
) -> Result<HashMap<String, String>, Trouble> {
    let text: String = cmd("INFO").arg(section).query_async(connection).await?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

pub(crate) async fn connect(settings: &Settings, client: &Client) -> Result<MultiplexedConnection, Trouble> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.patience))
        .set_response_timeout(Some(settings.patience));
    // Nothing was asked yet, whatever went wrong.
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .map_err(|error| Trouble::Refused(error.to_string()))
}

pub(crate) fn client(
    settings: &Settings,
    address: &Address,
    account: Option<&Account>,
) -> Result<Client, Trouble> {
    let mut login = RedisConnectionInfo::default().set_lib_name("taskpass", env!("CARGO_PKG_VERSION"));
    if let Some(Account { user, password }) = account {
        login = login.set_password(password.expose());
        if let Some(user) = user {
            login = login.set_username(user);
        }
    }
    let (host, port) = (address.host.clone(), address.port);
    let info = |place: ConnectionAddr| -> Result<ConnectionInfo, Trouble> {
        let info = place.into_connection_info().map_err(invalid)?;
        Ok(info.set_redis_settings(login).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
    };
    match &settings.tls {
        None => Client::open(info(ConnectionAddr::Tcp(host, port))?).map_err(invalid),
        Some(files) => {
            // The client takes the process's provider and panics when there is none; whoever set one before keeps it.
            drop(rustls::crypto::ring::default_provider().install_default());
            let place = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
            Client::build_with_tls(info(place)?, certificates(files)?).map_err(invalid)
        }
    }
}

fn invalid(error: redis::RedisError) -> Trouble {
    Trouble::Refused(error.to_string())
}

fn certificates(files: &TlsFiles) -> Result<TlsCertificates, Trouble> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Trouble::Refused(format!("`{}`: {error}", path.display())))
    };
    let client = files.client.as_ref().map(|(cert, key)| {
        Ok::<_, Trouble>(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? })
    });
    Ok(TlsCertificates { client_tls: client.transpose()?, root_cert: Some(read(&files.ca)?) })
}
