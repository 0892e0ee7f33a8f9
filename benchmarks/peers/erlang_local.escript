#!/usr/bin/env escript
%% Tell and ask an Erlang process on the same node: its message passing is what ours is measured by.
%% A map stands for the dict, a record's tuple for the object.
-mode(compile).

-define(TELLS, 100000).
-define(ASKS, 100000).
-define(WARM_UP, 10000).

count(Seen) ->
    receive
        {ask, From, Ref, _} -> From ! {Ref, Seen + 1}, count(Seen + 1);
        {tell, _} -> count(Seen + 1)
    end.

ask(Counter, Payload) ->
    Ref = make_ref(),
    Counter ! {ask, self(), Ref, Payload},
    receive {Ref, Seen} -> Seen end.

asks(_, _, 0) -> ok;
asks(Counter, Payload, Left) -> ask(Counter, Payload), asks(Counter, Payload, Left - 1).

tells(_, _, 0) -> ok;
tells(Counter, Payload, Left) -> Counter ! {tell, Payload}, tells(Counter, Payload, Left - 1).

payloads() ->
    [{"int", 1},
     {"dict", #{id => 12345, name => <<"Ada Lovelace">>, email => <<"ada@example.org">>,
                active => true, score => 98.5, tags => [<<"a">>, <<"b">>, <<"c">>],
                parent => none, created => <<"2024-05-06T07:08:09Z">>, count => 42}},
     {"object", {order, 12345, <<"Ada Lovelace">>, 98.5, true}}].

measure(Counter, {Name, Payload}) ->
    asks(Counter, Payload, ?WARM_UP),
    Before = ask(Counter, Payload),
    {Tell, After} = timer:tc(fun() -> tells(Counter, Payload, ?TELLS), ask(Counter, Payload) end),
    ?TELLS = After - Before - 1,
    {Ask, ok} = timer:tc(fun() -> asks(Counter, Payload, ?ASKS) end),
    report("tell/s", Name, ?TELLS * 1.0e6 / Tell),
    report("ask us", Name, Ask / ?ASKS).

report(Metric, Payload, Value) ->
    io:format("{\"metric\": \"~s\", \"payload\": \"~s\", \"value\": ~p}~n", [Metric, Payload, Value]).

main(_) ->
    Counter = spawn(fun() -> count(0) end),
    [measure(Counter, Payload) || Payload <- payloads()].
