//! Lets people in and out: by a one-time code and a new password, then by that password.

use http::{HeaderValue, Response, StatusCode, header};
use maud::{Markup, html};

use super::{Visit, layout, redirect, trust};
use crate::access::{NotLetIn, PASSWORD_LENGTH_MIN, SessionSecret};
use crate::page::{Carrier, Form, Note, Site, Visitor, cookie};
use crate::routes::Body;

/// The page on which people log in.
pub(crate) fn page<S: Site>(visit: &Visit<'_, S>, query: &Form) -> Response<Body> {
    shown(visit, StatusCode::OK, query.has("code"), None)
}

fn shown<S: Site>(
    visit: &Visit<'_, S>,
    status: StatusCode,
    by_code: bool,
    why: Option<&NotLetIn>,
) -> Response<Body> {
    let has_password = visit.desk.access().has_password();
    let by_code = by_code || !has_password;
    let main = html! {
        @if let Some(why) = why { div.note.bad role="alert" { p { (why) } } }
        @if by_code { (code_form(visit.desk.access().has_code(), has_password)) } @else { (password_form()) }
        @if visit.carrier == Carrier::Plain && visit.desk.can_be_trusted() {
            p.small { "Others in this network could read what you type here. " a href=(trust::PATH) { "Come over HTTPS" } }
        }
    };
    let title = if has_password { "Log in" } else { "Welcome" };
    layout::alone(visit, status, title, main)
}

fn password_form() -> Markup {
    html! {
        form.stack method="post" action="/login" {
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required autofocus;
            button.main type="submit" { "Log in" }
        }
        p.small { a href="/login?code" { "I do not know the password" } }
    }
}

fn code_form(has_code: bool, has_password: bool) -> Markup {
    html! {
        @if has_password {
            p { "Whoever is at the box can choose a new password. There, run " code { "warren login-code" } "." }
        } @else if has_code {
            p { "The box showed a login code when it started. Is it gone? There, run " code { "warren login-code" } "." }
        } @else {
            p { "To see that it is your box, it asks for a code. On the box, run " code { "warren login-code" } "." }
        }
        form.stack method="post" action="/login" {
            label for="code" { "Login code" }
            input.code #code name="code" autocomplete="one-time-code" autocapitalize="characters" spellcheck="false"
                placeholder="4F7K-9QXM-2TRB" maxlength="24" required autofocus;
            label for="password" { "New password" }
            input #password name="password" type="password" autocomplete="new-password" minlength=(PASSWORD_LENGTH_MIN) required
                aria-describedby="password-hint";
            p.small #password-hint { "Ten characters or more. Four words are easy to keep." }
            button.main type="submit" { "Open the console" }
        }
        @if has_password { p.small { a href="/login" { "I know the password" } } }
    }
}

/// Logs somebody in, or says why not.
pub(crate) async fn enter<S: Site>(visit: &Visit<'_, S>, form: &Form) -> Response<Body> {
    let (access, by_code) = (visit.desk.access(), form.has("code"));
    let entered = match by_code {
        true => {
            access
                .enter_with_code(form.get("code"), form.secret("password"))
                .await
        }
        false => access.enter(form.secret("password"), visit.from).await,
    };
    match entered {
        Ok(secret) => welcomed(visit, &secret, "/"),
        Err(why) => {
            let mut response = shown(visit, status(&why), by_code, Some(&why));
            if let NotLetIn::Wait(wait) = why {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            }
            response
        }
    }
}

fn status(why: &NotLetIn) -> StatusCode {
    match why {
        NotLetIn::WrongCode | NotLetIn::WrongPassword => StatusCode::UNAUTHORIZED,
        NotLetIn::Wait(_) => StatusCode::TOO_MANY_REQUESTS,
        NotLetIn::Weak(_) => StatusCode::UNPROCESSABLE_ENTITY,
        NotLetIn::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn welcomed<S>(visit: &Visit<'_, S>, secret: &SessionSecret, to: &str) -> Response<Body> {
    let mut response = redirect(to);
    response
        .headers_mut()
        .insert(header::SET_COOKIE, cookie::set(secret, visit.carrier));
    response
}

/// Logs somebody out.
pub(crate) fn leave<S: Site>(visit: &Visit<'_, S>, visitor: &Visitor) -> Response<Body> {
    visit.desk.access().leave(&visitor.session);
    let mut response = redirect("/login");
    response
        .headers_mut()
        .insert(header::SET_COOKIE, cookie::clear(visit.carrier));
    response
}

/// Changes the password; every other session ends.
pub(super) async fn change<S: Site>(visit: &Visit<'_, S>, visitor: &Visitor, form: &Form) -> Response<Body> {
    let access = visit.desk.access();
    let changed = access
        .change_password(form.secret("old"), form.secret("new"), visit.from)
        .await;
    match changed {
        Ok(secret) => {
            access.say(
                &secret.id(),
                Note::Done("The password is changed, and everybody else is logged out.".into()),
            );
            welcomed(visit, &secret, "/access")
        }
        Err(why) => {
            let note = Note::Failed {
                why: why.to_string(),
                advice: "",
            };
            access.say(&visitor.session, note);
            redirect("/access")
        }
    }
}
