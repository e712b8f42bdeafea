//! Seccomp filters: system calls that this thread makes from now on fail or kill the process.

/// A system call, and the commands of its second argument that are refused. If `commands` is empty,
/// every call is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) call: i64,
    pub(crate) commands: Vec<i32>,
}

/// Refuses system calls: each fails with `errno`. The filter holds for this thread and the threads
/// and processes that it starts.
pub(crate) fn refuse(refused: &[Refused], errno: i32) {
    answer(refused, libc::SECCOMP_RET_ERRNO | errno as u32);
}

/// Installs a filter that gives this answer to the system calls.
pub(crate) fn answer(refused: &[Refused], deny: u32) {
    // The number of the system call is at offset 0 of the filter's data, the low half of its second
    // argument at 24.
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let equal = |value, jf| libc::sock_filter {
        jf,
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value)
    };
    let ret = |answer| statement(libc::BPF_RET | libc::BPF_K, answer);
    let mut program = Vec::new();
    for Refused { call, commands } in refused {
        program.push(load(0));
        if commands.is_empty() {
            program.extend([equal(*call as u32, 1), ret(deny)]);
            continue;
        }
        program.push(equal(*call as u32, 1 + 2 * commands.len() as u8));
        program.push(load(24));
        for command in commands {
            program.extend([equal(*command as u32, 1), ret(deny)]);
        }
    }
    program.push(ret(libc::SECCOMP_RET_ALLOW));
    install(&mut program);
}

/// One instruction of a filter.
pub(crate) fn statement(code: u32, value: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}

/// Installs a filter for this thread.
pub(crate) fn install(program: &mut [libc::sock_filter]) {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first call sets a flag of this thread; the second only reads `program`.
    let outcomes = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
        ]
    };
    assert_eq!(outcomes, [0, 0], "{}", std::io::Error::last_os_error());
}
