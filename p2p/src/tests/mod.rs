//! Promises of a mesh, kept by real nodes over real sockets of this machine.

mod admission;
mod callback;
mod calls;
mod hostile;
mod restarts;
mod support;
