;; A plugin of an ABI version that this host does not know. It is recognised by the names alone.
(component
  (core module $core
    (func (export "run") (result i32) (i32.const 0)))
  (core instance $guest (instantiate $core))
  (func $run (result u32) (canon lift (core func $guest "run")))
  (instance $interface (export "run" (func $run)))
  (export "pulse:plugin/plugin@9.0.0" (instance $interface))
  (export "pulse:plugin/pulse@9.0.0" (instance $interface))
)
