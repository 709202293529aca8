;; Has the names of a plugin, but none of its types.
(component
  (core module $core
    (func (export "run") (result i32) (i32.const 0)))
  (core instance $guest (instantiate $core))
  (func $run (result u32) (canon lift (core func $guest "run")))
  (instance $plugin (export "describe" (func $run)))
  (instance $pulse (export "run" (func $run)))
  (export "pulse:plugin/plugin@0.1.0" (instance $plugin))
  (export "pulse:plugin/pulse@0.1.0" (instance $pulse))
)
