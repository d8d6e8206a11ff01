//! Promises of stores that are one mesh, in a simulated world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::cluster::neighbour_tests::{Wire, create, founder, join, object_key, owner, put, settled};
use crate::model::MemberId;
use crate::simulation;

#[test]
fn one_box_becomes_three_and_everybody_finds_everything() {
    simulation::run(1, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        put(&first, &bucket, "before", "there").await.unwrap();
        let second = join(&wire, &first, "ben").await;
        settled(&[&first, &second], &[1, 2]).await;
        assert_eq!(second.buckets().len(), 1);
        let third = join(&wire, &second, "cleo").await;
        settled(&[&first, &second, &third], &[1, 2, 3]).await;
        assert_eq!(third.members().len(), 3);
        let bucket = third.buckets().remove(0);
        put(&third, &bucket, "after", "there as well").await.unwrap();
        for store in [&first, &second, &third] {
            for (key, size) in [("before", 5), ("after", 13)] {
                let object = store.object(&bucket, &object_key(key), None).await.unwrap();
                assert_eq!(object.info().size, size);
            }
        }
        // Any one of them may go.
        wire.cut(MemberId(1));
        put(&second, &bucket, "without", "anna").await.unwrap();
        let key = object_key("without");
        assert_eq!(third.object(&bucket, &key, None).await.unwrap().info().size, 4);
    })
    .unwrap();
}
