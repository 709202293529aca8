;; Does everything right: shows that a failure of another guest here is the guest's own and not the shell's.
(core module $core
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 4096))

  ;; The description: name, version, summary, schema.
  (data (i32.const 16)
    "\40\00\00\00\04\00\00\00" "\60\00\00\00\05\00\00\00"
    "\68\00\00\00\04\00\00\00" "\70\00\00\00\11\00\00\00")
  (data (i32.const 0x40) "good")
  (data (i32.const 0x60) "0.1.0")
  (data (i32.const 0x68) "WAT.")
  (data (i32.const 0x70) "{\"type\":\"object\"}")
  ;; The result: ok, healthy, a summary, no reason, no measurements.
  (data (i32.const 0x108) "\68\00\00\00\04\00\00\00")

  (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32)
    (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func (export "describe") (result i32) (i32.const 16))
  (func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32) (i32.const 0x100))
)
