//! The binary `strongroom`. Everything it does stands in the library beside it.

/// Memory given back is zeroed, so keys and rows do not linger in it. Not glibc's, which is left to C libraries and fills for them (`docs/adr/0009`).
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<mimalloc::MiMalloc> = zeroizing_alloc::ZeroAlloc(mimalloc::MiMalloc);

fn main() -> std::process::ExitCode {
    strongroom_cli::run(std::env::args_os())
}
