//! Promises of the names of operations: a retry of one submission has its name, and another decision has another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{CompleteUpload, CompletedPart};
use crate::cluster::neighbour_tests::{
    Wire, body, content, delete, get, new_object, new_upload, object_key, put, slow_put, three,
};
use crate::model::{Cause, ETag, Invocation, PartNumber, WriteCondition};
use crate::{NewObject, StoreError, simulation};

#[test]
fn an_upload_may_take_longer_than_tombstones_are_kept_also_where_its_first_answer_is_lost() {
    simulation::run(1, async {
        let wire = Wire::default();
        let [first, second, _third] = three(&wire).await;
        let bucket = first.buckets().remove(0);
        // From now on this box decides about the key.
        put(&first, &bucket, "film", "before").await.unwrap();
        let (come, upload) = slow_put(&second, &bucket, "film", None);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        delete(&first, &bucket, "film").await;
        while first.has_tombstones().unwrap() {
            first.forget_tombstones().await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        let (on_its_way, go_on) = wire.lose_answer_about("film");
        go_on.send(()).unwrap();
        come.send(content("f", 1).into()).unwrap();
        upload.await.unwrap().unwrap();
        on_its_way.await.unwrap();
        assert_eq!(get(&first, &bucket, "film").await.unwrap(), content("f", 1));
    })
    .unwrap();
}

#[test]
fn a_completion_that_chooses_anew_is_not_refused_by_its_own_first_choice() {
    simulation::run(2, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let bucket = first.buckets().remove(0);
        let key = object_key("film");
        put(&first, &bucket, "film", "before").await.unwrap();
        let upload = first.create_upload(&bucket, &key, new_upload()).await.unwrap();
        let number = PartNumber::FIRST;
        let text = content("f", 1);
        let part = first.put_part(&bucket, &key, upload, number, body(&text));
        let part = CompletedPart {
            number,
            etag: Some(part.await.unwrap().etag),
            checksum: None,
        };
        let complete = CompleteUpload {
            parts: vec![part],
            condition: WriteCondition::None,
            checksum: None,
            size: None,
            customer: None,
            cause: Cause::default(),
        };
        let (on_its_way, go_on) = wire.lose_answer_about("film");
        let (store, of) = (second.clone(), bucket.clone());
        let completing = tokio::spawn(async move {
            store
                .complete_upload(&of, &object_key("film"), upload, complete)
                .await
        });
        on_its_way.await.unwrap();
        // The same part once more, by a client that did not hear either.
        third
            .put_part(&bucket, &key, upload, number, body(&text))
            .await
            .unwrap();
        go_on.send(()).unwrap();
        completing.await.unwrap().unwrap();
        assert_eq!(get(&first, &bucket, "film").await.unwrap(), text);
    })
    .unwrap();
}

#[test]
fn a_client_that_tries_again_at_another_box_is_not_refused_by_what_it_did_itself() {
    simulation::run(3, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let bucket = first.buckets().remove(0);
        let attempt = async |at: &crate::Store, (name, number): (&str, u32), condition, text: &str| {
            let new = NewObject {
                condition,
                invocation: Invocation::of("GK1", name, &format!("attempt={number}")),
                ..new_object()
            };
            let key = object_key("film");
            let put = at.put_object(&bucket, &key, new, body(text));
            put.await.map(|put| put.etag)
        };
        let before = attempt(&first, ("begin", 1), WriteCondition::Absent, "before").await;
        let (swap, text) = (WriteCondition::Tag(Some(before.unwrap())), content("f", 1));
        let done = attempt(&second, ("swap", 1), swap, &text).await.unwrap();
        assert_eq!(attempt(&third, ("swap", 2), swap, &text).await.unwrap(), done);
        let refused = |tried: Result<ETag, StoreError>| matches!(tried, Err(StoreError::PreconditionFailed));
        assert!(refused(attempt(&third, ("another", 2), swap, &text).await));
        assert!(refused(attempt(&third, ("swap", 1), swap, &text).await));
        put(&third, &bucket, "film", "by somebody else").await.unwrap();
        assert!(refused(attempt(&first, ("swap", 3), swap, &text).await));
        assert_eq!(get(&second, &bucket, "film").await.unwrap(), "by somebody else");
    })
    .unwrap();
}
