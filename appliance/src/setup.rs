//! The first hour of a box that has no keyboard: serves a page on which a person says what it is to be, before it is anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, AccessError};
use crate::api::Secret;
use crate::console::Visit;
use crate::page::{PageOptions, PageServer, Site, Visitor};
use crate::routes::Body;

mod disk;
mod wizard;

/// What a person wants the box to be.
#[derive(Clone)]
pub struct Wish {
    /// Into which mesh.
    pub mesh: MeshWish,
    /// What people will call its place; the suggestion where it is empty.
    pub zone: String,
    /// How much of the disk it may use, e.g. `500G`; all of it where it is empty.
    pub give: String,
}

/// Into which mesh a box goes.
#[derive(Clone)]
pub enum MeshWish {
    /// A new one, which people will call so.
    New(String),
    /// The one that an invite is from.
    Invited(Secret),
}

/// What a box became.
pub struct Became {
    /// What people call the mesh.
    pub mesh: String,
    /// What a new mesh is shown once; none where it joined one.
    pub first: Option<ShownOnce>,
    /// The host name under which its network knows it once it has started, e.g. `warren-anna.local`; none where nobody is
    /// told.
    pub called: Option<String>,
}

/// What is shown once when a mesh begins.
pub struct ShownOnce {
    /// The 24 words.
    pub phrase: Secret,
    /// The first access key.
    pub key: String,
    /// Its secret.
    pub secret: Secret,
}

/// What a fresh box knows of itself.
pub struct Suggestion {
    /// What the mesh would be called.
    pub name: String,
    /// What the place would be called.
    pub zone: String,
    /// Bytes of the disk, and of them free; 0 where nobody can say.
    pub disk: (u64, u64),
}

/// A disk on which a box could keep everything, instead of the one that it starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpareDisk {
    /// Tells it, with what is on it, from every other disk that was ever plugged in: letters and digits. What the system calls
    /// it does not, for two of a size may have changed places.
    pub mark: String,
    /// What the system calls it while it runs, e.g. `sda`.
    pub name: String,
    /// What its maker calls it; empty where it does not say.
    pub model: String,
    /// What is printed on it, to tell it from others of its model; empty where it does not say.
    pub serial: String,
    /// How large it is.
    pub bytes: u64,
    /// What is on it, for a person; none where nothing is known to be.
    pub holds: Option<String>,
    /// Whether that is a box, which could go on.
    pub is_box: bool,
}

/// What becomes of what is on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskUse {
    /// It is deleted.
    Format,
    /// It is a box, which goes on.
    Keep,
}

/// A disk that somebody chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskWish {
    /// As [`SpareDisk::mark`] was when it was chosen.
    pub mark: String,
    /// What becomes of what is on it.
    pub what: DiskUse,
}

/// A box that is nothing yet.
pub trait Fresh: Send + Sync + 'static {
    /// What it would be if nobody said anything.
    fn suggestion(&self) -> Suggestion;

    /// Makes it what a person wants.
    ///
    /// # Errors
    /// Why not, as a sentence for that person; then it is nothing still.
    ///
    /// # Cancellation
    /// What a new mesh is shown once may be lost.
    fn become_it(&self, wish: Wish) -> impl Future<Output = Result<Became, String>> + Send;

    /// The command that a person has to type at the box that invited this one, so that it can join; none where nothing is to be
    /// done but wait.
    fn wants(&self) -> Option<String>;

    /// The disks on which it could keep everything; none where it cannot take one.
    fn spare_disks(&self) -> Vec<SpareDisk>;

    /// Takes a disk. This process ends when it has it, and another goes on from there: only why it has not is ever returned,
    /// as a sentence for a person.
    fn take_disk(&self, wish: DiskWish) -> impl Future<Output = String> + Send;

    /// Somebody has written down what is shown once.
    fn noted(&self);
}

/// How far a box is.
enum Stage {
    /// Nobody has said anything, or what was said could not be done.
    Asking(Option<NotDone>),
    /// It is being made.
    Working,
    /// It takes a disk.
    Taking,
    /// It is made; shown until somebody has written it down.
    Made(Became),
    /// It starts.
    Done,
}

/// What was said, and could not be done.
struct NotDone {
    /// What the box was to be; none where something else was asked for.
    wish: Option<Wish>,
    /// Why not, for a person.
    why: String,
}

/// What somebody wants done.
enum Order {
    Become(Wish),
    Take(DiskWish),
}

/// A fresh box, and who may say what it is to be.
pub struct Setup<F> {
    fresh: F,
    access: Access,
    /// Whether a login code was told.
    told: AtomicBool,
    stage: Mutex<Stage>,
    orders: mpsc::Sender<Order>,
    /// Cancelled once the box is made and what is shown once is written down.
    done: CancellationToken,
}

/// What makes the box once somebody has said what it is to be.
pub struct Maker<F> {
    setup: Arc<Setup<F>>,
    orders: mpsc::Receiver<Order>,
}

impl<F: Fresh> Setup<F> {
    /// A box that waits for a person who logs in.
    pub fn new(fresh: F, access: Access) -> (Arc<Self>, Maker<F>) {
        let (orders, heard) = mpsc::channel(1);
        let setup = Arc::new(Self {
            fresh,
            access,
            told: AtomicBool::new(false),
            stage: Mutex::new(Stage::Asking(None)),
            orders,
            done: CancellationToken::new(),
        });
        let maker = Maker {
            setup: Arc::clone(&setup),
            orders: heard,
        };
        (setup, maker)
    }

    /// A fresh login code, for when the box starts; then again when the last one is too old, until somebody has used one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn login_code(&self) -> Result<Option<Secret>, AccessError> {
        let is_first = !self.told.swap(true, Ordering::Relaxed);
        // A password that is there from before may be forgotten, while the box is nothing yet.
        let is_needed = is_first || !(self.access.has_code() || self.access.has_password());
        is_needed.then(|| self.access.login_code()).transpose()
    }

    /// Whether a login code works right now.
    pub fn has_code(&self) -> bool {
        self.access.has_code()
    }

    /// Serves the wizard on these listeners, until [`PageServer::shutdown`].
    pub fn serve(self: &Arc<Self>, listeners: Vec<TcpListener>, options: PageOptions) -> PageServer {
        PageServer::of(listeners, Arc::clone(self), CancellationToken::new(), options)
    }

    /// Returns once what is being written of who may log in is written: for when nobody is answered any more.
    pub async fn settle(&self) {
        self.access.settle().await;
    }

    fn stage<T>(&self, look: impl FnOnce(&mut Stage) -> T) -> T {
        look(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has something done, unless the box is or is being made.
    fn order(&self, order: Order) {
        let meanwhile = match order {
            Order::Become(_) => Stage::Working,
            Order::Take(_) => Stage::Taking,
        };
        self.stage(|stage| {
            if matches!(stage, Stage::Asking(_)) && self.orders.try_send(order).is_ok() {
                *stage = meanwhile;
            }
        });
    }

    /// Tells whoever asks next why nothing was done, unless the box is or is being made.
    fn refuse(&self, why: &str) {
        self.stage(|stage| {
            if let Stage::Asking(last) = stage {
                *last = Some(NotDone {
                    wish: None,
                    why: why.to_owned(),
                });
            }
        });
    }

    /// The host name that the box will have, where it is made.
    fn called(&self) -> Option<String> {
        self.stage(|stage| match stage {
            Stage::Made(became) => became.called.clone(),
            _ => None,
        })
    }

    /// Lets the box start, where it is made.
    fn finish(&self) {
        let is_made = self.stage(|stage| {
            let is_made = matches!(stage, Stage::Made(_));
            if is_made {
                // Wiped from memory with it.
                *stage = Stage::Done;
            }
            is_made
        });
        if is_made {
            self.fresh.noted();
            self.done.cancel();
        }
    }
}

impl<F: Fresh> Maker<F> {
    /// Makes the box as somebody wants it; returns when it may start.
    ///
    /// # Cancellation
    /// As [`Fresh::become_it`].
    pub async fn run(mut self) {
        let setup = &self.setup;
        while let Some(Some(order)) = setup.done.run_until_cancelled(self.orders.recv()).await {
            let reached = match order {
                Order::Become(wish) => match setup.fresh.become_it(wish.clone()).await {
                    Ok(became) => Stage::Made(became),
                    Err(why) => Stage::Asking(Some(NotDone {
                        wish: Some(wish),
                        why,
                    })),
                },
                Order::Take(wish) => {
                    let why = setup.fresh.take_disk(wish).await;
                    Stage::Asking(Some(NotDone { wish: None, why }))
                }
            };
            setup.stage(|stage| *stage = reached);
        }
    }
}

impl<F: Fresh> Site for Setup<F> {
    fn access(&self) -> &Access {
        &self.access
    }

    async fn answer(
        visit: Visit<'_, Self>,
        visitor: Option<Visitor>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        wizard::answer(&visit, visitor, request).await
    }
}
