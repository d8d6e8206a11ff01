//! A few nodes of one mesh on this machine, and a host that keeps invites the way a directory does.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{
    Address, Applicant, Application, Certificate, Claims, Class, Host, Identity, Invite, InviteId, JoinError,
    Limits, MeshKey, Node, NodeId, NotWelcome, Options, Refusal, Role, Service, Welcome,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long connections may take to come about on a busy machine.
const AT_LAST: Duration = Duration::from_secs(15);

/// Answers every call with what it was asked, unless asked for something special.
pub(crate) struct Echo;

impl Service for Echo {
    fn answer(&self, _: NodeId, _: Class, request: Bytes) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        Box::pin(async move {
            if request.starts_with(b"refuse") {
                return Err(Refusal("asked to".into()));
            }
            if request.starts_with(b"sleep") {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            Ok(request)
        })
    }
}

/// Keeps invites: who may use them, until when, and who did.
pub(crate) struct Directory {
    key: MeshKey,
    own: NodeId,
    invites: Mutex<HashMap<InviteId, Option<NodeId>>>,
    expired: Mutex<HashSet<InviteId>>,
}

impl Directory {
    pub(crate) fn certificate(&self, node: NodeId, name: &str) -> Certificate {
        let claims = Claims {
            node,
            role: Role::Trusted,
            zone: "here".into(),
            name: name.into(),
            serial: 1,
            issued_s: 1,
        };
        Certificate::issue(&self.key, claims).unwrap()
    }
}

impl Host for Directory {
    fn redeem(&self, application: Application) -> BoxFuture<'static, Result<Welcome, NotWelcome>> {
        let is_expired = self.expired.lock().unwrap().contains(&application.invite);
        let mut invites = self.invites.lock().unwrap();
        let used = invites.get_mut(&application.invite).ok_or(NotWelcome);
        let welcome = used.and_then(|used| {
            if is_expired || *used.get_or_insert(application.node) != application.node {
                return Err(NotWelcome);
            }
            Ok(Welcome {
                own: self.certificate(self.own, "host"),
                yours: self.certificate(application.node, &application.name),
                gift: Bytes::from_static(b"gift"),
            })
        });
        Box::pin(async move { welcome })
    }
}

/// One node, and all that is its own.
pub(crate) struct Home {
    pub(crate) node: Node,
    pub(crate) directory: Arc<Directory>,
    pub(crate) folder: TempDir,
}

pub(crate) fn mesh_key() -> MeshKey {
    MeshKey::from_secret(&[3; 32])
}

pub(crate) fn options(folder: &TempDir) -> Options {
    Options {
        mesh: mesh_key().id(),
        members: Vec::new(),
        folder: folder.path().to_owned(),
        listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        port: None,
        public: Vec::new(),
        mdns: false,
        upnp: false,
        limits: Limits {
            sent: None,
            received: None,
            relayed: None,
        },
    }
}

impl Home {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), mesh_key(), Arc::new(Echo), |_| {}).await
    }

    pub(crate) async fn start_in(
        folder: TempDir,
        key: MeshKey,
        service: Arc<dyn Service>,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let identity = Identity::load_or_create(&folder.path().join("identity")).unwrap();
        let directory = Arc::new(Directory {
            key,
            own: identity.node_id(),
            invites: Mutex::default(),
            expired: Mutex::default(),
        });
        let mut options = options(&folder);
        change(&mut options);
        let host = Arc::clone(&directory) as Arc<dyn Host>;
        let node = Node::start(&identity, options, service, host).await.unwrap();
        node.set_signer(Some(mesh_key().id()));
        Self {
            node,
            directory,
            folder,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.node.id()
    }

    pub(crate) fn address(&self) -> Address {
        self.node.reach().listening.first().unwrap().clone()
    }

    /// An invite that this node honours once.
    pub(crate) fn invite(&self) -> Invite {
        self.invite_naming(vec![self.address()])
    }

    /// The same that says to knock there.
    pub(crate) fn invite_naming(&self, addresses: Vec<Address>) -> Invite {
        let invite = Invite::new(mesh_key().id(), Role::Trusted, 1 << 33, addresses).unwrap();
        self.directory.invites.lock().unwrap().insert(invite.id(), None);
        self.node.expect_guests(Duration::from_secs(60));
        invite
    }

    /// Honours an invite that another made.
    pub(crate) fn honour(&self, invite: &Invite) {
        self.directory.invites.lock().unwrap().insert(invite.id(), None);
        self.node.expect_guests(Duration::from_secs(60));
    }

    pub(crate) fn expire(&self, invite: &Invite) {
        self.directory.expired.lock().unwrap().insert(invite.id());
    }

    pub(crate) fn revoke(&self, invite: &Invite) {
        self.directory.invites.lock().unwrap().remove(&invite.id());
    }

    pub(crate) async fn join(&self, invite: &Invite) -> Result<Welcome, JoinError> {
        let applicant = Applicant {
            zone: "there".into(),
            name: "joiner".into(),
            greeting: Bytes::new(),
        };
        self.node.join(invite, &applicant).await
    }

    pub(crate) async fn call(
        &self,
        to: &Self,
        class: Class,
        request: &[u8],
    ) -> Result<Bytes, crate::CallError> {
        let request = Bytes::copy_from_slice(request);
        self.node.call(to.id(), class, request, SOON).await
    }

    /// Waits until it is connected to all of them.
    pub(crate) async fn connected(&self, to: &[NodeId]) {
        self.until(|node| to.iter().all(|peer| node.peer(*peer).link.is_some()))
            .await;
    }

    pub(crate) async fn until(&self, condition: impl Fn(&Node) -> bool) {
        let mut changes = self.node.changes();
        let waited = tokio::time::timeout(AT_LAST, changes.wait_for(|_| condition(&self.node))).await;
        waited.expect("should have come true at last").unwrap();
    }
}

/// Two nodes that became members of one mesh by an invite, connected.
pub(crate) async fn pair() -> (Home, Home) {
    let (a, b) = (Home::start().await, Home::start().await);
    befriend(&a, &b).await;
    (a, b)
}

/// Lets `b` into the mesh of `a`.
pub(crate) async fn befriend(a: &Home, b: &Home) {
    b.join(&a.invite()).await.unwrap();
    a.node.expect_guests(Duration::ZERO);
    a.node.set_members([a.id(), b.id()]);
    b.node.set_members([a.id(), b.id()]);
    a.connected(&[b.id()]).await;
    b.connected(&[a.id()]).await;
}

/// Somebody nobody knows.
pub(crate) fn stranger() -> NodeId {
    NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[77; 32]).verifying_key())
}
