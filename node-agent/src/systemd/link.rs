//! One live connection to the service manager.
//!
//! A single task, the *pump*, reads every message of the connection and hands the few signals that matter to whoever
//! listens. It never waits for a listener: zbus stops reading the socket while a message stream is full, so a slow
//! listener would otherwise block the very replies that it waits for.
//!
//! Any client of the system bus may send a signal that looks like one of systemd's. The pump therefore accepts only
//! what comes from the unique name that owned `org.freedesktop.systemd1` when the link was made. When that owner
//! changes (`systemctl daemon-reexec`), subscriptions are gone and jobs can no longer be followed, so the link ends
//! and the next request makes a new one.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{Mutex, Semaphore, broadcast};
use tokio::task::JoinHandle;
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::message::Type;
use zbus::names::{BusName, InterfaceName, UniqueName};
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, Message, MessageStream, ObjectPath, OwnedVariant};

use super::Error;
use super::proxy::{LoginProxy, ManagerProxy};
use super::state::Properties;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const LOGIN: &str = "org.freedesktop.login1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const JOBS: &str = "/org/freedesktop/systemd1/job";

/// Signals that a listener may fall behind before it has to look for itself. A full stop of a machine removes a few
/// hundred jobs in a burst.
const BACKLOG: usize = 1024;

/// Calls under way at a time. dbus-daemon refuses the 129th unanswered call of a connection
/// (`max_replies_per_connection`), which a full stop of a large machine would reach.
const CALLS: usize = 64;

/// What the pump passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// A job left the queue for good.
    JobRemoved { job: String, result: String },
    /// Properties of the object at this path changed.
    Changed { path: String },
}

/// A connection with its pump. Dropping it closes both.
#[derive(Debug)]
pub(super) struct Link {
    connection: Connection,
    signals: broadcast::WeakSender<Signal>,
    watched: Mutex<BTreeSet<String>>,
    pump: JoinHandle<()>,
    limit: Duration,
    calls: Semaphore,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Link {
    /// Connects to `address`, or to the machine's system bus; no call on the link takes longer than `limit`.
    pub(super) async fn open(address: Option<&str>, limit: Duration) -> Result<Self, Error> {
        let shown = address.unwrap_or("its standard address").to_owned();
        let builder = address.map_or_else(
            zbus::connection::Builder::system,
            zbus::connection::Builder::address,
        );
        let connection = match tokio::time::timeout(limit, builder.build()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(source)) => {
                return Err(Error::no_bus(shown, &source));
            }
            Err(_) => {
                return Err(Error::NoAnswer {
                    what: "open the system bus".to_owned(),
                    limit,
                });
            }
        };
        let (sender, _) = broadcast::channel(BACKLOG);
        let weak = sender.downgrade();
        // The stream exists before the first match rule, so nothing that a rule lets through can be missed.
        let messages = MessageStream::from(&connection);
        let owner = timed(limit, "find systemd on the bus", None, async {
            let bus = bus(&connection).await?;
            let name = BusName::try_from(SYSTEMD)?;
            bus.add_match_rule(owner_rule()?).await?;
            bus.add_match_rule(job_removed_rule()?).await?;
            bus.add_match_rule(changed_rule().path_namespace(JOBS).build()?)
                .await?;
            Ok(bus.get_name_owner(name).await.map_err(zbus::Error::from))
        });
        // The stream must be drained from here on; the pump needs the owner first, so both run together.
        let (owner, messages, moved) = drain_while(messages, owner).await;
        if moved {
            return Err(Error::Lost {
                what: "connecting".to_owned(),
            });
        }
        let owner = owner?.map_err(|source| Error::NoManager {
            address: shown,
            source: Box::new(source),
        })?;
        let pump = tokio::spawn(pump(messages, owner.into_inner(), sender));
        let link = Self {
            connection,
            signals: weak,
            watched: Mutex::new(BTreeSet::new()),
            pump,
            limit,
            calls: Semaphore::new(CALLS),
        };
        link.call("subscribe", None, async {
            link.manager().await?.subscribe().await
        })
        .await?;
        Ok(link)
    }

    /// Whether requests can still go over this link.
    pub(super) fn is_live(&self) -> bool {
        !self.pump.is_finished()
    }

    /// How long a call may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Listens from now on. On a dead link the receiver is closed from the start.
    pub(super) fn listen(&self) -> broadcast::Receiver<Signal> {
        match self.signals.upgrade() {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    pub(super) async fn manager(&self) -> zbus::Result<ManagerProxy<'static>> {
        ManagerProxy::builder(&self.connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
    }

    pub(super) async fn login(&self) -> zbus::Result<LoginProxy<'static>> {
        LoginProxy::builder(&self.connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
    }

    /// Whether logind is on the bus or can be activated. Its absence shows in as many errors as there are ways not to
    /// install it, so none of them is told apart.
    pub(super) async fn has_login(&self) -> bool {
        let activated = self.call("activate logind", None, async {
            let bus = bus(&self.connection).await?;
            Ok(bus.start_service_by_name(LOGIN.try_into()?, 0).await?)
        });
        activated.await.is_ok()
    }

    /// Has the properties of the object at `path` reported for the rest of the link's life. The rule is added once
    /// and stays: buses limit the rules of a connection, and watched units come back.
    pub(super) async fn watch(&self, path: &str) -> Result<(), Error> {
        let mut watched = self.watched.lock().await;
        if watched.contains(path) {
            return Ok(());
        }
        self.call("watch a unit", None, async {
            let bus = bus(&self.connection).await?;
            Ok(bus
                .add_match_rule(changed_rule().path(path).build()?)
                .await?)
        })
        .await?;
        watched.insert(path.to_owned());
        Ok(())
    }

    /// All properties of one interface, read in one call and therefore consistent with each other.
    pub(super) async fn properties(
        &self,
        path: &str,
        interface: &'static str,
    ) -> zbus::Result<Properties> {
        Ok(self
            .object(path)
            .await?
            .get_all(InterfaceName::try_from(interface)?)
            .await?)
    }

    /// One property.
    pub(super) async fn property(
        &self,
        path: &str,
        interface: &str,
        name: &str,
    ) -> zbus::Result<OwnedVariant> {
        Ok(self
            .object(path)
            .await?
            .get(InterfaceName::try_from(interface)?, name)
            .await?)
    }

    async fn object<'p>(&self, path: &'p str) -> zbus::Result<PropertiesProxy<'p>> {
        PropertiesProxy::builder(&self.connection)
            .destination(SYSTEMD)
            .path(ObjectPath::try_from(path)?)
            .cache_properties(CacheProperties::No)
            .build()
            .await
    }

    /// Runs a call under the link's time limit and names it in the error.
    pub(super) async fn call<T>(
        &self,
        what: &str,
        unit: Option<&str>,
        call: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, Error> {
        let what = unit.map_or_else(|| what.to_owned(), |unit| format!("{what} {unit}"));
        let call = async {
            // Never closed, so this always yields a permit.
            let _permit = self.calls.acquire().await;
            call.await
        };
        timed(self.limit, &what, unit, call).await
    }
}

async fn bus(connection: &Connection) -> zbus::Result<DBusProxy<'static>> {
    DBusProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

async fn timed<T>(
    limit: Duration,
    what: &str,
    unit: Option<&str>,
    call: impl Future<Output = zbus::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| Error::from_call(what, unit, error)),
        Err(_) => Err(Error::NoAnswer {
            what: what.to_owned(),
            limit,
        }),
    }
}

/// Polls `work` to its end while throwing away what the stream yields, and says whether systemd's owner changed.
async fn drain_while<T>(
    mut messages: MessageStream,
    work: impl Future<Output = T>,
) -> (T, MessageStream, bool) {
    let mut work = std::pin::pin!(work);
    let (mut open, mut moved) = (true, false);
    let value = loop {
        tokio::select! {
            value = &mut work => break value,
            message = messages.next(), if open => match message {
                Some(message) => moved |= message.is_ok_and(|message| owner_changed(&message)),
                None => open = false,
            },
        }
    };
    (value, messages, moved)
}

async fn pump(
    mut messages: MessageStream,
    owner: UniqueName<'static>,
    listeners: broadcast::Sender<Signal>,
) {
    while let Some(Ok(message)) = messages.next().await {
        if message.message_type() != Type::Signal {
            continue;
        }
        if owner_changed(&message) {
            tracing::info!("the owner of org.freedesktop.systemd1 changed, reconnecting");
            return;
        }
        if message.header().sender() != Some(&owner) {
            continue;
        }
        if let Some(signal) = read(&message) {
            // Nobody listening is fine.
            let _ = listeners.send(signal);
        }
    }
}

fn read(message: &Message) -> Option<Signal> {
    let header = message.header();
    match (header.interface()?.as_str(), header.member()?.as_str()) {
        ("org.freedesktop.systemd1.Manager", "JobRemoved") => {
            let body = message.body();
            let (_, job, _, result): (u32, ObjectPath<'_>, &str, &str) = body.deserialize().ok()?;
            Some(Signal::JobRemoved {
                job: job.to_string(),
                result: result.to_owned(),
            })
        }
        (PROPERTIES, "PropertiesChanged") => Some(Signal::Changed {
            path: header.path()?.to_string(),
        }),
        _ => None,
    }
}

fn owner_changed(message: &Message) -> bool {
    let header = message.header();
    let from_bus = header
        .sender()
        .is_some_and(|sender| sender.as_str() == "org.freedesktop.DBus");
    if !from_bus
        || header
            .member()
            .is_none_or(|member| member.as_str() != "NameOwnerChanged")
    {
        return false;
    }
    message
        .body()
        .deserialize::<(&str, &str, &str)>()
        .is_ok_and(|(name, _, _)| name == SYSTEMD)
}

fn owner_rule() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(0, SYSTEMD)
        .build()
}

fn job_removed_rule() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .interface("org.freedesktop.systemd1.Manager")
        .member("JobRemoved")
        .build()
}

fn changed_rule<'m>() -> zbus::match_rule::Builder<'m> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .interface(PROPERTIES)
        .member("PropertiesChanged")
}
