//! Where Redis is, and how a connection to it is made: find the primary or the node of a shelf, TCP, TLS, login.
//!
//! Each connection is made anew from here, so that a primary that moved or a password that changed is met by the next
//! one. Nothing here tells a password: not in errors, not in debug output.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use gatehouse_proto::config::v1;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use rustls::{ClientConfig, crypto::aws_lc_rs, sign::SingleCertAndKey};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Invalid;
use super::cluster::{self, Shelf};
use super::redis::kind;
use super::store::StoreError;
use crate::compile::certificate;

const DEFAULT_TIMEOUT_MS: u32 = 20;
const MAX_TIMEOUT_MS: u32 = 50;
const USE: &str = "use redis://host:port[/db], or rediss:// for TLS";

/// Where Redis is, checked once.
#[derive(Clone)]
pub(crate) struct RedisTarget {
    config: v1::Redis,
    pub(super) server: Arc<Server>,
    pub(super) timeout: Duration,
}

pub(super) struct Server {
    place: Place,
    tls: Option<Tls>,
    login: RedisConnectionInfo,
    /// Of several that know where Redis is, where to begin to ask.
    first: AtomicUsize,
}

enum Place {
    Here(Address),
    /// The configuration can't be used.
    Nowhere,
    /// Sentinels know it.
    Sentinels {
        primary: String,
        addresses: Vec<Address>,
        /// By whom they are asked.
        login: RedisConnectionInfo,
    },
    /// Nodes of a cluster know it.
    Cluster(Vec<Address>),
}

struct Address {
    host: String,
    port: u16,
}

struct Tls {
    connector: TlsConnector,
    /// Whom the certificate must name; else the host.
    name: Option<ServerName<'static>>,
}

impl RedisTarget {
    /// # Errors
    /// When an address, name or certificate is not one. Never the URL itself in a message: it may hold a password.
    pub(crate) fn parse(config: &v1::Redis) -> Result<RedisTarget, Invalid> {
        let timeout = if config.timeout_ms == 0 { DEFAULT_TIMEOUT_MS } else { config.timeout_ms };
        let timeout = Duration::from_millis(u64::from(timeout.min(MAX_TIMEOUT_MS)));
        let server = Server::parse(config).map_err(Invalid)?;
        Ok(RedisTarget { config: config.clone(), server: Arc::new(server), timeout })
    }
}

/// The same place, asked as the same user.
impl PartialEq for RedisTarget {
    fn eq(&self, other: &RedisTarget) -> bool {
        self.config == other.config
    }
}

impl Eq for RedisTarget {}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTarget").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Server {
    fn parse(config: &v1::Redis) -> Result<Server, String> {
        let nobody = RedisConnectionInfo::default;
        let (place, info, by_scheme) = match (&config.sentinel, &config.cluster) {
            _ if !config.broken.is_empty() => (Place::Nowhere, nobody(), false),
            (Some(sentinel), _) => (Place::sentinels(sentinel)?, nobody(), false),
            (None, Some(cluster)) => (Place::cluster(cluster)?, nobody(), false),
            (None, None) => Place::url(&config.url)?,
        };
        let login = login(info, &config.username, &config.password);
        let public = v1::RedisTls { public_roots: true, ..v1::RedisTls::default() };
        let tls = config.tls.as_ref().or(by_scheme.then_some(&public));
        Ok(Server { place, tls: tls.map(Tls::compile).transpose()?, login, first: AtomicUsize::new(0) })
    }

    /// Where counts lie there.
    pub(super) fn shelves(&self) -> &'static [Shelf] {
        Shelf::all(matches!(self.place, Place::Cluster(_)))
    }

    /// Takes as long as the network does: bound it.
    pub(super) async fn connect(&self, shelf: &Shelf) -> Result<MultiplexedConnection, StoreError> {
        match &self.place {
            Place::Nowhere => Err(StoreError::Down),
            Place::Here(address) => self.open(&address.host, address.port, &self.login).await,
            Place::Sentinels { primary, addresses, login } => {
                let (host, port) = self.primary(self.one_of(addresses)?, login, primary).await?;
                self.open(&host, port, &self.login).await
            }
            Place::Cluster(addresses) => {
                let asked = self.one_of(addresses)?;
                let mut connection = self.open(&asked.host, asked.port, &self.login).await?;
                let (host, port) = cluster::node(&mut connection, shelf.slot.unwrap_or_default()).await?;
                let host = host.as_ref().unwrap_or(&asked.host);
                if *host == asked.host && port == asked.port {
                    return Ok(connection);
                }
                self.open(host, port, &self.login).await
            }
        }
    }

    /// The connection failed, or did not lead to where decisions can be made: another is asked next. Workers and shelves
    /// that share this may all say so: each tries others in turn.
    pub(super) fn failed(&self) {
        self.first.fetch_add(1, Relaxed);
    }

    fn one_of<'a>(&self, addresses: &'a [Address]) -> Result<&'a Address, StoreError> {
        addresses.get(self.first.load(Relaxed) % addresses.len().max(1)).ok_or(StoreError::Lost)
    }

    async fn primary(
        &self,
        sentinel: &Address,
        login: &RedisConnectionInfo,
        name: &str,
    ) -> Result<(String, u16), StoreError> {
        let mut connection = self.open(&sentinel.host, sentinel.port, login).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let found: Option<(String, u16)> =
            command.query_async(&mut connection).await.map_err(|error| kind(&error))?;
        found.ok_or(StoreError::Refused)
    }

    async fn open(
        &self,
        host: &str,
        port: u16,
        login: &RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, StoreError> {
        let stream = TcpStream::connect((host, port)).await.map_err(|_| StoreError::Lost)?;
        // A decision is one small packet each way: it must not wait for another.
        stream.set_nodelay(true).map_err(|_| StoreError::Lost)?;
        let Some(tls) = &self.tls else { return enter(stream, login).await };
        let name = match &tls.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| StoreError::Untrusted)?,
        };
        let stream = tls.connector.connect(name, stream).await.map_err(|_| StoreError::Untrusted)?;
        enter(stream, login).await
    }
}

/// What is empty is as in `info`.
fn login(info: RedisConnectionInfo, username: &str, password: &str) -> RedisConnectionInfo {
    let mut login = info.set_skip_set_lib_name();
    if !username.is_empty() {
        login = login.set_username(username);
    }
    if !password.is_empty() {
        login = login.set_password(password);
    }
    login
}

async fn enter(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    login: &RedisConnectionInfo,
) -> Result<MultiplexedConnection, StoreError> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) =
        MultiplexedConnection::new_with_config(login, stream, config).await.map_err(|error| kind(&error))?;
    // It ends when nobody has the connection any more.
    tokio::spawn(driver);
    Ok(connection)
}

impl Place {
    /// Also who logs in, and whether the scheme asks for TLS.
    fn url(url: &str) -> Result<(Place, RedisConnectionInfo, bool), String> {
        // The crate speaks no TLS itself.
        let tls = ["rediss://", "valkeys://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let plain = tls.map_or_else(|| url.to_owned(), |rest| format!("redis://{rest}"));
        let info = plain.into_connection_info();
        let info =
            info.map_err(|error| format!("the Redis URL is not valid ({}): {USE}", error.category()))?;
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let address = Address { host: host.clone(), port: *port };
                Ok((Place::Here(address), info.redis_settings().clone(), tls.is_some()))
            }
            _ => Err(format!("the Redis URL names no host: {USE}")),
        }
    }

    fn sentinels(sentinel: &v1::RedisSentinel) -> Result<Place, String> {
        let addresses = Address::all(&sentinel.addresses, "a sentinel")?;
        if addresses.is_empty() || sentinel.primary.is_empty() {
            return Err("sentinels need addresses, and the name of their primary".to_owned());
        }
        Ok(Place::Sentinels {
            primary: sentinel.primary.clone(),
            addresses,
            login: login(RedisConnectionInfo::default(), &sentinel.username, &sentinel.password),
        })
    }

    fn cluster(cluster: &v1::RedisCluster) -> Result<Place, String> {
        let addresses = Address::all(&cluster.addresses, "a node of a cluster")?;
        if addresses.is_empty() {
            return Err("a cluster needs addresses of its nodes".to_owned());
        }
        Ok(Place::Cluster(addresses))
    }
}

impl Address {
    fn all(texts: &[String], of: &str) -> Result<Vec<Address>, String> {
        let address = |text: &String| {
            let (host, port) = text.rsplit_once(':')?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse().ok().filter(|port| *port > 0)?;
            (!host.is_empty()).then(|| Address { host: host.to_owned(), port })
        };
        let addresses = texts.iter().map(|text| {
            address(text).ok_or_else(|| format!("{text:?} is no address of {of}: use host:port"))
        });
        addresses.collect()
    }
}

impl Tls {
    fn compile(tls: &v1::RedisTls) -> Result<Tls, String> {
        let mut roots = certificate::roots(&tls.roots)?;
        if tls.public_roots {
            roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        }
        if roots.is_empty() {
            return Err("no authority is trusted for TLS to Redis".to_owned());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match &tls.client_certificate {
            None => config.with_no_client_auth(),
            Some(shown) => {
                let shown =
                    certificate::compile(shown).map_err(|what| format!("clientCertificate: {what}"))?;
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
        };
        let name = Some(&tls.server_name)
            .filter(|name| !name.is_empty())
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no host name")));
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name: name.transpose()? })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}
