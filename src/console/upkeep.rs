//! Shows and steers upkeep: the layout, repairs, and verifying what is stored.

use appliance::NodeError;
use appliance::api::{
    LayoutBox, LayoutEntry, LayoutPreviewShown, LayoutShown, LayoutWait, RepairBox, RepairShown, Schema,
    ScrubShown, SweepBox, SweepShown, SweepWaits,
};
use storage::health::MemberHealth;
use storage::model::{MemberId, Timestamp};
use storage::{ScrubStatus, StoreError, Waits};

use super::copies::behind;
use super::{Console, refusal, time_shown};
use crate::mesh::name_of;

impl Console {
    pub(super) fn layout_shown(&self) -> LayoutShown {
        let (layout, members) = (self.store.layout(), self.store.members());
        let row = |member: MemberId| {
            members
                .iter()
                .find(|(known, _)| *known == member)
                .map(|(_, row)| row)
        };
        let name = |member: MemberId| row(member).map_or_else(|| member.to_string(), |row| row.name.clone());
        let boxes = layout.parts.iter().map(|(member, blocks, rows)| LayoutBox {
            name: name(*member),
            zone: row(*member).map(|row| row.zone.to_string()).unwrap_or_default(),
            member: member.0,
            blocks: *blocks,
            rows: *rows,
        });
        let history = layout.history.iter().map(|change| LayoutEntry {
            at: time_shown(change.at),
            by: name(change.by),
            copies: change.copies,
            rows: change.rows,
            reasons: change.reasons.clone(),
        });
        LayoutShown {
            schema: Schema,
            version: layout.version,
            paused: layout.paused.map(time_shown),
            changing: layout.changing,
            boxes: boxes.collect(),
            history: history.collect(),
        }
    }

    pub(super) fn layout_previewed(&self) -> Result<LayoutPreviewShown, NodeError> {
        let preview = self.store.preview_layout();
        let preview = preview.map_err(|error| NodeError::Invalid(error.to_string()))?;
        let waits = preview.waits.into_iter().map(|(what, until)| LayoutWait {
            what,
            until: until.map(time_shown),
        });
        Ok(LayoutPreviewShown {
            schema: Schema,
            reasons: preview.reasons,
            waits: waits.collect(),
            copies: preview.copies,
            bytes: preview.bytes,
            rows: preview.rows,
        })
    }

    pub(super) async fn set_layout_paused(&self, pause: bool) -> Result<LayoutShown, NodeError> {
        let paused = self.store.pause_layout(pause).await;
        paused.map_err(|error| refusal(error, "layout"))?;
        Ok(self.layout_shown())
    }

    pub(super) async fn layout_settled(&self) -> Result<bool, NodeError> {
        let settled = self.store.settle_layout().await;
        settled.map_err(|error| refusal(error, "layout"))
    }

    pub(super) fn scrub_shown(&self) -> ScrubShown {
        // First: when it is over, what came of it is there.
        let asked = self.store.is_scrub_asked_for();
        ScrubShown {
            paused: self.store.is_scrub_paused(),
            asked,
            ..scrub(&self.store.scrub_status())
        }
    }

    pub(super) async fn repair_shown(&self) -> Result<RepairShown, NodeError> {
        let counted = self.copies_counted().await;
        let copies = counted.as_ref().as_ref().map_err(|error| match error {
            StoreError::Closed => NodeError::Stopping,
            // It is shared with others who asked, so only its words can be passed on.
            other => NodeError::Failed(other.to_string().into()),
        })?;
        let now = Timestamp::now();
        let boxes = copies
            .members
            .iter()
            .map(|(member, health)| repaired(name_of(&self.store, *member), *member, health, now));
        Ok(RepairShown {
            schema: Schema,
            boxes: boxes.collect(),
        })
    }
}

impl Console {
    pub(super) async fn swept(&self, until: Option<u32>) -> Result<SweepShown, NodeError> {
        let swept = self.store.sweep_now(until).await;
        let swept = swept.map_err(|error| refusal(error, "sweep"))?;
        let boxes = swept.members.iter().map(|(member, share)| SweepBox {
            name: name_of(&self.store, *member),
            member: member.0,
            freed: share.freed,
            held: share.held,
            waits: share.waits.map(|waits| match waits {
                Waits::Away => SweepWaits::Away,
                Waits::RowsLost => SweepWaits::RowsLost,
                Waits::Writing => SweepWaits::Writing,
                Waits::Sweeping => SweepWaits::Sweeping,
            }),
        });
        Ok(SweepShown {
            schema: Schema,
            until: swept.until,
            done: swept.is_done(),
            boxes: boxes.collect(),
        })
    }
}

fn repaired(name: String, member: MemberId, health: &MemberHealth, now: Timestamp) -> RepairBox {
    let (report, told) = health.said.clone().unzip();
    let report = report.unwrap_or_default();
    let since = |told: Timestamp| now.as_millis().saturating_sub(told.as_millis()) / 1000;
    RepairBox {
        name,
        member: member.0,
        behind: behind(health, now),
        told_seconds: told.map(since),
        proven_percent: report.blocks.proven_millionths / 10_000,
        compared: report.rows.compared.map(time_shown),
        uncompared: health.uncompared,
        swept: report.swept,
        scrub: scrub(&report.scrub),
    }
}

fn scrub(status: &ScrubStatus) -> ScrubShown {
    ScrubShown {
        schema: Schema,
        finished: status.finished.map(time_shown),
        began: status.began.map(time_shown),
        blocks: status.blocks,
        bytes: status.bytes,
        damaged: status.damaged,
        paused: false,
        asked: false,
    }
}
