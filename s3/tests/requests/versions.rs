//! Versions over real HTTP against a real store: what each answer says.

use crate::common::World;

const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

#[tokio::test]
async fn versioning_is_the_owners_to_set_and_every_answer_names_the_version() {
    let world = World::start().await;
    world
        .check("PUT /bucket/k < old", "200 | !x-amz-version-id")
        .await;
    world
        .check_anonymous(&format!("PUT /bucket?versioning < {ENABLED}"), "403 AccessDenied")
        .await;
    world
        .check(&format!("PUT /bucket?versioning < {ENABLED}"), "200")
        .await;
    world
        .check("GET /bucket?versioning", "200 | <Status>Enabled</Status>")
        .await;
    world
        .check("GET /bucket/k", "200 | x-amz-version-id: null | = old")
        .await;
    world
        .check("PUT /bucket/k < new", "200 | x-amz-version-id: 0")
        .await;
    world
        .check(
            "DELETE /bucket/k",
            "204 | x-amz-version-id: 0 | x-amz-delete-marker: true",
        )
        .await;
    world
        .check(
            "GET /bucket/k",
            "404 NoSuchKey | x-amz-delete-marker: true | x-amz-version-id: 0",
        )
        .await;
    world
        .check(
            "GET /bucket?versions",
            "200 | <DeleteMarker><Key>k</Key> | <VersionId>null</VersionId><IsLatest>false",
        )
        .await;
    world
        .check(
            "DELETE /bucket/k?versionId=null",
            "204 | x-amz-version-id: null | !x-amz-delete-marker",
        )
        .await;
    world.check("DELETE /bucket", "409 BucketNotEmpty").await;
    world.stop().await;
}
