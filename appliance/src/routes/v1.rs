//! The lines of the table: version 1 of the admin API, and what programs ask that watch a box.

use http::{Method, StatusCode};

use super::asked::{Ask, Nothing};
use super::reply::{Described, Done, Events, Judged, Line, Made, Numbers, Report, Shown};
use super::{Routes, described};
use crate::access::{AccessError, CODE_VALID};
use crate::api::{
    AskSweep, BucketList, CallBox, Change, ChangeKey, ConfigShown, DiskList, DrainPeer, ForceEpoch,
    InviteList, KeyInfo, KeyList, LogShown, LoginCode, LoginState, PartWith, PeerInfo, PeerList, RenamePeer,
    Schema, SetPaused, SetPublic, SetQuota, Settled, TestApp, TokenList,
};
use crate::desk::Desk;
use crate::right::Right::{Admin, Anyone, AtTheBox, Operate, Owner, Read};
use crate::{Node, NodeError, Problem, kit, live, metrics, support, verdict};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

/// Where the support bundle is.
pub(crate) const SUPPORT: &str = "/api/v1/support-bundle";

pub(super) fn fill<N: Node>(to: &mut Routes<N>) {
    watching(to);
    mesh(to);
    upkeep(to);
    buckets(to);
    keys(to);
    apps(to);
    access(to);
}

/// What programs ask that watch a box.
fn watching<N: Node>(to: &mut Routes<N>) {
    to.add(
        GET,
        "/healthz",
        Anyone,
        "Whether the process lives.",
        |_, _, Nothing| async { Ok(Line(StatusCode::OK, "alive\n")) },
    );
    to.add(
        GET,
        "/readyz",
        Anyone,
        "Whether requests are served: 503 if not.",
        |desk, _, Nothing| async move {
            Ok(match desk.node.ready() {
                true => Line(StatusCode::OK, "ready\n"),
                false => Line(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            })
        },
    );
    to.add(
        GET,
        "/api/v1/health",
        Read,
        "How safe the data is: 503 where some of it is lost, or would be with one home, or nothing is served.",
        |desk, _, Nothing| async move { Ok(Judged(verdict::health(desk.facts().await))) },
    );
    for path in ["/metrics", "/api/v1/metrics"] {
        to.add(
            GET,
            path,
            Read,
            "Numbers for Prometheus.",
            |desk, _, Nothing| async move {
                let (facts, measures) = (desk.facts().await, desk.node.measures().await);
                Ok(Numbers(metrics::text(&facts, &measures)))
            },
        );
    }
    to.add(
        GET,
        "/api/v1/openapi.json",
        Anyone,
        "This description.",
        |desk, _, Nothing| async move {
            let description = desk
                .description
                .get_or_init(|| described(&desk.routes).to_string().into());
            Ok(Described(description.clone()))
        },
    );
    to.add(
        GET,
        "/api/v1/status",
        Read,
        "How the box and its mesh are.",
        |desk, _, Nothing| async move { Ok(Shown(verdict::status(desk.facts().await))) },
    );
    let says = "The status now, and again whenever it changes: server-sent events `status`, each a document of /api/v1/status.";
    to.add(GET, live::PATH, Read, says, |desk, _, Nothing| async move {
        Ok(Events(live::listen(&desk).await.ok_or_else(live::too_many)?))
    });
    to.add(
        GET,
        "/api/v1/config",
        Read,
        "What the box runs with, and who set it.",
        |desk, _, Nothing| async move {
            let settings = desk.node.settings();
            Ok(Shown(ConfigShown {
                schema: Schema,
                settings,
            }))
        },
    );
    to.add(
        GET,
        "/api/v1/log",
        Admin,
        "The last lines of the log of this box, oldest first; they may name buckets and objects.",
        |desk, _, Nothing| async move {
            Ok(Shown(LogShown {
                schema: Schema,
                lines: desk.node.log(),
            }))
        },
    );
    let says = "All that somebody who helps has to know of this box, as one text without secrets.";
    to.add(GET, SUPPORT, Admin, says, |desk, _, Nothing| async move {
        Ok(Report(support::bundle(&desk).await))
    });
}

fn mesh<N: Node>(to: &mut Routes<N>) {
    to.add(
        GET,
        "/api/v1/peers",
        Read,
        "All boxes of the mesh.",
        |desk, _, Nothing| async move {
            let peers = desk.node.peers().await;
            Ok(Shown(PeerList {
                schema: Schema,
                peers,
            }))
        },
    );
    to.add(
        GET,
        "/api/v1/history",
        Read,
        "What this box exchanged with the others, when they were here, and what homes keep for each other.",
        |desk, _, Nothing| async move { Ok(Shown(desk.node.past().shown(&desk.node.peers().await))) },
    );
    to.add(
        GET,
        "/api/v1/peers/{peer}",
        Read,
        "A box, by number, name or node id.",
        |desk, peer, Nothing| async move {
            let peer = desk.node.peer(&peer).await?;
            Ok(Shown(PeerInfo { schema: Schema, peer }))
        },
    );
    to.add(
        PUT,
        "/api/v1/peers/{peer}/name",
        Admin,
        "Calls a box by another name.",
        |desk, peer, Ask(asked)| async move {
            let asked: RenamePeer = asked;
            let peer = desk.node.rename_peer(&peer, &asked.name).await?;
            Ok(Shown(PeerInfo { schema: Schema, peer }))
        },
    );
    let says = "Has a box hand over what it holds, or keep it.";
    to.add(
        PUT,
        "/api/v1/peers/{peer}/draining",
        Admin,
        says,
        |desk, peer, Ask(asked)| async move {
            let asked: DrainPeer = asked;
            let peer = desk.node.drain_peer(&peer, asked.draining).await?;
            Ok(Shown(PeerInfo { schema: Schema, peer }))
        },
    );
    to.add(
        POST,
        "/api/v1/peers/{peer}/remove",
        Admin,
        "Cuts a box off for good.",
        |desk, peer, Ask(asked)| async move {
            let asked: PartWith = asked;
            desk.node.remove_peer(&peer, asked.lose_data).await?;
            Ok(Done)
        },
    );
    let says = "Goes on without boxes that are lost for good, where those that are left are too few; or says what that means.";
    to.add(
        POST,
        "/api/v1/mesh/force-epoch",
        Admin,
        says,
        |desk, _, Ask(asked)| async move {
            let asked: ForceEpoch = asked;
            Ok(Shown(desk.node.force_epoch(&asked.without, asked.dry_run).await?))
        },
    );
    to.add(
        POST,
        "/api/v1/peers/{peer}/ping",
        Operate,
        "Measures how long a box takes to answer.",
        |desk, peer, Nothing| async move { Ok(Shown(desk.node.ping_peer(&peer).await?)) },
    );
    to.add(
        POST,
        "/api/v1/leave",
        Admin,
        "Takes this box out of the mesh.",
        |desk, _, Ask(asked)| async move {
            let asked: PartWith = asked;
            desk.node.leave(asked.lose_data).await?;
            Ok(Done)
        },
    );
    to.add(
        GET,
        "/api/v1/invites",
        Read,
        "Invites that work, or did of late.",
        |desk, _, Nothing| async move { Ok(Shown(invite_list(&desk))) },
    );
    to.add(
        POST,
        "/api/v1/invites",
        Admin,
        "Makes an invite; its token is shown once.",
        |desk, _, Ask(asked)| async move { Ok(Made(desk.node.create_invite(asked).await?)) },
    );
    to.add(
        POST,
        "/api/v1/invites/call",
        Admin,
        "Calls a box that waits with an invite where this one can reach it, and cannot reach this one.",
        |desk, _, Ask(asked)| async move {
            let asked: CallBox = asked;
            desk.node.call_box(&asked.address)?;
            Ok(Shown(invite_list(&desk)))
        },
    );
    to.add(
        DELETE,
        "/api/v1/invites/{id}",
        Admin,
        "Takes an invite back.",
        |desk, id, Nothing| async move {
            desk.node.revoke_invite(&id).await?;
            Ok(Done)
        },
    );
    to.add(
        GET,
        "/api/v1/net",
        Read,
        "How this box can be reached.",
        |desk, _, Nothing| async move { Ok(Shown(desk.node.net())) },
    );
    to.add(
        PUT,
        "/api/v1/net/limit",
        Operate,
        "Limits how fast content flows one way.",
        |desk, _, Ask(asked)| async move { Ok(Shown(desk.node.set_limit(asked).await?)) },
    );
    to.add(
        PUT,
        "/api/v1/net/quiet",
        Operate,
        "Has content flow slowly for a while, either way.",
        |desk, _, Ask(asked)| async move { Ok(Shown(desk.node.set_quiet(asked).await?)) },
    );
}

fn invite_list<N: Node>(desk: &Desk<N>) -> InviteList {
    InviteList {
        schema: Schema,
        invites: desk.node.invites(),
        called: desk.node.called(),
    }
}

fn upkeep<N: Node>(to: &mut Routes<N>) {
    to.add(
        GET,
        "/api/v1/layout",
        Read,
        "Who is wanted to hold what.",
        |desk, _, Nothing| async move { Ok(Shown(desk.node.layout())) },
    );
    to.add(
        GET,
        "/api/v1/layout/preview",
        Read,
        "What would change next.",
        |desk, _, Nothing| async move { Ok(Shown(desk.node.preview_layout()?)) },
    );
    let says = "Keeps the layout as it is, or lets it change by itself again.";
    to.add(
        PUT,
        "/api/v1/layout/paused",
        Operate,
        says,
        |desk, _, Ask(asked)| async move {
            let asked: SetPaused = asked;
            Ok(Shown(desk.node.pause_layout(asked.paused).await?))
        },
    );
    to.add(
        POST,
        "/api/v1/layout/settle",
        Operate,
        "Gives everybody its share now.",
        |desk, _, Nothing| async move {
            let changed = desk.node.settle_layout().await?;
            Ok(Shown(Settled {
                schema: Schema,
                changed,
            }))
        },
    );
    to.add(
        GET,
        "/api/v1/repair",
        Read,
        "What is being repaired.",
        |desk, _, Nothing| async move { Ok(Shown(desk.node.repair().await?)) },
    );
    let says = "Has all boxes free the blocks that nothing refers to: to be asked again, with what was answered, until it is done.";
    to.add(
        POST,
        "/api/v1/repair/sweep",
        Operate,
        says,
        |desk, _, Ask(asked)| async move {
            let asked: AskSweep = asked;
            Ok(Shown(desk.node.sweep(asked.until).await?))
        },
    );
    to.add(
        GET,
        "/api/v1/scrub",
        Read,
        "How far verifying the blocks of this box has come.",
        |desk, _, Nothing| async move { Ok(Shown(desk.node.scrub())) },
    );
    let says = "Begins to verify the blocks of this box now, or pauses that.";
    to.add(
        PUT,
        "/api/v1/scrub/paused",
        Operate,
        says,
        |desk, _, Ask(asked)| async move {
            let asked: SetPaused = asked;
            desk.node.set_scrub(asked.paused);
            Ok(Shown(desk.node.scrub()))
        },
    );
    to.add(
        GET,
        "/api/v1/disks",
        Read,
        "The directories in which this box keeps blocks, and how they are.",
        |desk, _, Nothing| async move {
            let disks = desk.node.disks();
            Ok(Shown(DiskList {
                schema: Schema,
                disks,
            }))
        },
    );
}

fn buckets<N: Node>(to: &mut Routes<N>) {
    to.add(
        GET,
        "/api/v1/buckets",
        Read,
        "All buckets.",
        |desk, _, Nothing| async move {
            let buckets = desk.node.buckets();
            Ok(Shown(BucketList {
                schema: Schema,
                buckets,
            }))
        },
    );
    to.add(
        POST,
        "/api/v1/buckets",
        Admin,
        "Creates a bucket.",
        |desk, _, Ask(asked)| async move { Ok(Made(desk.node.create_bucket(asked).await?)) },
    );
    to.add(
        GET,
        "/api/v1/buckets/{name}",
        Read,
        "A bucket and who may use it.",
        |desk, name, Nothing| async move { Ok(Shown(desk.node.bucket(&name).await?)) },
    );
    to.add(
        DELETE,
        "/api/v1/buckets/{name}",
        Admin,
        "Deletes an empty bucket.",
        |desk, name, Nothing| async move {
            desk.node.delete_bucket(&name).await?;
            Ok(Done)
        },
    );
    let says = "Opens a bucket to people without a key, or closes it.";
    to.add(
        PUT,
        "/api/v1/buckets/{name}/public",
        Admin,
        says,
        |desk, name, Ask(asked)| async move {
            let asked: SetPublic = asked;
            Ok(Shown(desk.node.set_public(&name, asked.public).await?))
        },
    );
    let says = "Gives a bucket another name, or takes it away.";
    to.add(
        PUT,
        "/api/v1/buckets/{name}/aliases",
        Admin,
        says,
        |desk, name, Ask(asked)| async move { Ok(Shown(desk.node.set_alias(&name, asked).await?)) },
    );
    to.add(
        PUT,
        "/api/v1/buckets/{name}/quota",
        Admin,
        "Bounds what a bucket may hold.",
        |desk, name, Ask(asked)| async move {
            let asked: SetQuota = asked;
            Ok(Shown(desk.node.set_bucket_quota(&name, asked.quota).await?))
        },
    );
}

fn keys<N: Node>(to: &mut Routes<N>) {
    to.add(
        GET,
        "/api/v1/keys",
        Read,
        "All access keys, without secrets.",
        |desk, _, Nothing| async move {
            let keys = desk.node.keys();
            Ok(Shown(KeyList { schema: Schema, keys }))
        },
    );
    let says = "Creates or imports an access key; its secret is shown once.";
    to.add(
        POST,
        "/api/v1/keys",
        Admin,
        says,
        |desk, _, Ask(asked)| async move { Ok(Made(desk.node.create_key(asked).await?)) },
    );
    to.add(
        GET,
        "/api/v1/keys/{key}",
        Read,
        "An access key, by id or name.",
        |desk, key, Nothing| async move {
            let key = desk.node.key(&key)?;
            Ok(Shown(KeyInfo { schema: Schema, key }))
        },
    );
    to.add(
        DELETE,
        "/api/v1/keys/{key}",
        Admin,
        "Deletes an access key.",
        |desk, key, Nothing| async move {
            desk.node.delete_key(&key).await?;
            Ok(Done)
        },
    );
    let says = "Bounds what all buckets together may hold that a key owns.";
    to.add(
        PUT,
        "/api/v1/keys/{key}/quota",
        Admin,
        says,
        |desk, key, Ask(asked)| async move {
            let asked: SetQuota = asked;
            let key = desk.node.set_key_quota(&key, asked.quota).await?;
            Ok(Shown(KeyInfo { schema: Schema, key }))
        },
    );
    to.add(
        POST,
        "/api/v1/keys/{key}/allow",
        Admin,
        "Gives permissions to a key.",
        |desk, key, Ask(asked)| async move {
            let asked: ChangeKey = asked;
            let key = desk.node.change_key(&key, Change::Allow, asked).await?;
            Ok(Shown(KeyInfo { schema: Schema, key }))
        },
    );
    to.add(
        POST,
        "/api/v1/keys/{key}/deny",
        Admin,
        "Takes permissions from a key.",
        |desk, key, Ask(asked)| async move {
            let asked: ChangeKey = asked;
            let key = desk.node.change_key(&key, Change::Deny, asked).await?;
            Ok(Shown(KeyInfo { schema: Schema, key }))
        },
    );
}

/// What apps do with keys.
fn apps<N: Node>(to: &mut Routes<N>) {
    let says = "Tests what an app could do with a key: stores, reads, lists, uploads in parts and deletes over HTTP.";
    to.add(
        POST,
        "/api/v1/keys/{key}/test",
        Admin,
        says,
        |desk, key, Ask(asked)| async move {
            let asked: TestApp = asked;
            Ok(Shown(desk.node.test_app(&key, &asked.bucket).await?))
        },
    );
}

/// Who may call this API.
fn access<N: Node>(to: &mut Routes<N>) {
    let says =
        "What a recovery kit says: where everything is, and the sealed keys, which only the 24 words open.";
    to.add(GET, "/api/v1/kit", Admin, says, |desk, _, Nothing| async move {
        Ok(Shown(kit::kit(&desk).await?))
    });
    let says = "Makes the one code that lets a browser in, for ten minutes.";
    to.add(
        POST,
        "/api/v1/login-code",
        AtTheBox,
        says,
        |desk, _, Nothing| async move {
            let code = desk.access.login_code().map_err(failed)?;
            Ok(Made(LoginCode {
                schema: Schema,
                code,
                valid_seconds: CODE_VALID.as_secs(),
                page: desk.page.clone(),
            }))
        },
    );
    let says = "Whether somebody has chosen a password for the page, and whether a login code works.";
    to.add(
        GET,
        "/api/v1/login-code",
        AtTheBox,
        says,
        |desk, _, Nothing| async move {
            Ok(Shown(LoginState {
                schema: Schema,
                has_password: desk.access.has_password(),
                has_code: desk.access.has_code(),
            }))
        },
    );
    to.add(
        GET,
        "/api/v1/tokens",
        Owner,
        "All tokens, without secrets.",
        |desk, _, Nothing| async move {
            let tokens = desk.access.tokens();
            Ok(Shown(TokenList {
                schema: Schema,
                tokens,
            }))
        },
    );
    to.add(
        POST,
        "/api/v1/tokens",
        Owner,
        "Makes a token; its secret is shown once.",
        |desk, _, Ask(asked)| async move {
            let made = desk.access.create_token(&asked).await.map_err(failed)?;
            Ok(Made(made.map_err(NodeError::Invalid)?))
        },
    );
    to.add(
        DELETE,
        "/api/v1/tokens/{id}",
        Owner,
        "Takes a token back.",
        |desk, id, Nothing| async move {
            let revoked = desk.access.revoke_token(&id).await.map_err(failed)?;
            revoked.map_err(|why| Problem::new(StatusCode::NOT_FOUND, "no-such-token", why))?;
            Ok(Done)
        },
    );
}

fn failed(error: AccessError) -> NodeError {
    NodeError::Failed(Box::new(error))
}
