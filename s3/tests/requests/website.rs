//! Buckets served as websites, over real HTTP against a real store.

use crate::common::World;

const READABLE: &str = r#"PUT /bucket?policy < {"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"},
    {"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/secret/*"}]}"#;

/// A bucket that is a website below `web.example`, with these elements in its configuration.
async fn world(configuration: &str) -> World {
    let world = World::start().await;
    for (key, content) in [
        ("index.html", "home"),
        ("docs/index.html", "docs"),
        ("docs/a%20b.html", "a b"),
        ("404.html", "lost"),
        ("secret/index.html", "secret"),
    ] {
        world
            .check(
                &format!("PUT /bucket/{key} content-type=text/html < {content}"),
                "200",
            )
            .await;
    }
    world.check(READABLE, "204").await;
    put(&world, configuration, "200").await;
    world
}

async fn put(world: &World, configuration: &str, expected: &str) {
    let document = format!("<WebsiteConfiguration>{configuration}</WebsiteConfiguration>");
    world
        .check(&format!("PUT /bucket?website < {document}"), expected)
        .await;
}

async fn visit(world: &World, request: &str, expected: &str) {
    let (head, body) = request.split_once(" < ").unwrap_or((request, ""));
    let request = format!("{head} host=bucket.web.example:3900 < {body}");
    world.check_anonymous(&request, expected).await;
}

const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

#[tokio::test]
async fn pages_are_shown_to_everyone_as_far_as_everyone_may_read() {
    let world = world(INDEX).await;
    for (request, expected) in [
        ("GET /", "200 | content-type: text/html | = home"),
        ("HEAD /", "200 | content-length: 4 | = "),
        ("GET /docs/", "200 | = docs"),
        ("GET /docs/a%20b.html?v=3", "200 | = a b"),
        ("GET /docs", "302 | location: /docs/ | = "),
        ("GET /?acl", "200 | = home"),
        ("GET / range=bytes=0-1", "206 | = ho"),
        (
            "GET /none",
            "403 | content-type: text/html | <h1>403 Forbidden</h1> | <li>Code: AccessDenied</li>",
        ),
        ("GET /secret/", "403 | !secret</"),
        ("GET /secret", "403"),
        ("GET //docs", "403"),
        (
            "PUT / < x",
            "405 | <li>Code: MethodNotAllowed</li> | allow: get, head, options | connection: close",
        ),
        ("DELETE /index.html", "405"),
        ("GET /%ff", "400"),
    ] {
        visit(&world, request, expected).await;
    }
    world
        .check("GET /bucket?website", "200 | <Suffix>index.html</Suffix>")
        .await;
    world.check("DELETE /bucket?website", "204").await;
    visit(&world, "GET /", "404 | <li>Code: NoSuchWebsiteConfiguration</li>").await;
    world
        .check_anonymous(
            "GET / host=missing.web.example",
            "404 | <li>Code: NoSuchBucket</li>",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn errors_have_a_page_of_their_own() {
    let world = world(&format!(
        "{INDEX}<ErrorDocument><Key>404.html</Key></ErrorDocument>"
    ))
    .await;
    visit(
        &world,
        "GET /none",
        "403 | x-amz-error-code: accessdenied | = lost",
    )
    .await;
    visit(&world, "GET /none if-match=x range=bytes=0-0", "403 | = lost").await;
    visit(&world, "HEAD /none", "403 | = ").await;
    world.check("PUT /bucket?acl x-amz-acl=public-read", "200").await;
    visit(&world, "GET /none", "404 | x-amz-error-code: nosuchkey | = lost").await;
    world.check("DELETE /bucket/404.html", "204").await;
    visit(&world, "GET /none", "404 | <li>Key: none</li>").await;
    world.stop().await;
}

#[tokio::test]
async fn requests_are_sent_where_rules_and_objects_say() {
    let rules = format!(
        "{INDEX}<RoutingRules>\
         <RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
         <Redirect><ReplaceKeyPrefixWith>docs/</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
         <RoutingRule><Condition><HttpErrorCodeReturnedEquals>403</HttpErrorCodeReturnedEquals></Condition>\
         <Redirect><HostName>b.example</HostName><Protocol>https</Protocol><ReplaceKeyWith>sorry</ReplaceKeyWith>\
         <HttpRedirectCode>307</HttpRedirectCode></Redirect></RoutingRule></RoutingRules>"
    );
    let world = world(&rules).await;
    visit(&world, "GET /old/a", "301 | location: /docs/a").await;
    visit(&world, "GET /none", "307 | location: https://b.example/sorry").await;
    visit(&world, "GET /docs/", "200 | = docs").await;
    world
        .check(
            "PUT /bucket/moved x-amz-website-redirect-location=/docs/ < x",
            "200",
        )
        .await;
    visit(&world, "GET /moved", "301 | location: /docs/ | = ").await;
    world
        .check(
            "GET /bucket/moved",
            "200 | x-amz-website-redirect-location: /docs/ | = x",
        )
        .await;
    world
        .check(
            "PUT /bucket/moved x-amz-website-redirect-location=javascript:alert < x",
            "400 InvalidArgument",
        )
        .await;
    put(
        &world,
        "<RedirectAllRequestsTo><HostName>www.b.example</HostName></RedirectAllRequestsTo>",
        "200",
    )
    .await;
    visit(
        &world,
        "GET /a%20b?q=1",
        "301 | location: //www.b.example/a%20b?q=1",
    )
    .await;
    visit(
        &world,
        "GET //evil.example",
        "301 | location: //www.b.example/%2fevil.example",
    )
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_bucket_is_a_website_at_the_host_of_its_name_and_keeps_s3_clients_from_nothing() {
    let world = World::start().await;
    let host = "host=www.a.example";
    world
        .check("PUT /www.a.example x-amz-acl=public-read", "200")
        .await;
    world.check("PUT /www.a.example/index.html < home", "200").await;
    world.check("PUT /bucket?acl x-amz-acl=public-read", "200").await;
    world.check("PUT /bucket/k < hello", "200").await;
    world
        .check_anonymous(&format!("GET /bucket/k {host}"), "200 | = hello")
        .await;
    let configuration = format!("<WebsiteConfiguration>{INDEX}</WebsiteConfiguration>");
    world
        .check(&format!("PUT /www.a.example?website < {configuration}"), "200")
        .await;
    world
        .check_anonymous(&format!("GET / {host}:3900"), "200 | = home")
        .await;
    world
        .check_anonymous(&format!("GET /bucket/k {host}"), "404 | <li>Code: NoSuchKey</li>")
        .await;
    world
        .check(&format!("GET /bucket/k {host}"), "200 | = hello")
        .await;
    world
        .check(&format!("GET / {host}"), "200 | <Name>bucket</Name>")
        .await;
    world
        .check_anonymous("GET /www.a.example/index.html", "200 | = home")
        .await;
    world.stop().await;
}

#[tokio::test]
async fn a_website_shares_its_pages_as_its_rules_say() {
    let world = world(INDEX).await;
    let cors = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
                </CORSRule></CORSConfiguration>";
    world.check(&format!("PUT /bucket?cors < {cors}"), "200").await;
    let shared = "access-control-allow-origin: *";
    visit(
        &world,
        "GET / origin=https://b.example",
        &format!("200 | {shared}"),
    )
    .await;
    visit(
        &world,
        "GET /none origin=https://b.example",
        &format!("403 | {shared}"),
    )
    .await;
    let ask = "OPTIONS / origin=https://b.example access-control-request-method=GET";
    visit(&world, ask, &format!("200 | {shared}")).await;
    world.stop().await;
}
