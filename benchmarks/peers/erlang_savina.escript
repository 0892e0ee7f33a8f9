#!/usr/bin/env escript
%% The six Savina benchmarks on Erlang: the protocols of ours/savina.py, the sizes of _savina.py.
-mode(compile).

-define(ROUND_TRIPS, 20000).
-define(NUMBERS, 100000).
-define(CREATED, 5000).
-define(WORKERS, 60).
-define(WORK_EACH, 1000).
-define(NEIGHBOURS, 120).
-define(PINGS, 200).
-define(CHAMENEOS, 100).
-define(MEETINGS, 10000).
-define(PHILOSOPHERS, 20).
-define(MEALS, 500).

%% Runs the function, which ends when all is done, and prints how many a second there were.
report(Metric, Name, Count, Fun) ->
    {Took, _} = timer:tc(Fun),
    io:format("{\"metric\": \"~s\", \"payload\": \"~s\", \"value\": ~p}~n", [Metric, Name, Count * 1.0e6 / Took]).

wait(0) -> ok;
wait(Left) -> receive arrived -> wait(Left - 1) end.

compute() -> Sine = math:sin(37.2), Sine * Sine.

%% ping-pong

pong() -> receive {ping, Sender} -> Sender ! pong, pong() end.

ping(_, Main, 0) -> receive pong -> Main ! arrived end;
ping(Pong, Main, Left) -> receive pong -> Pong ! {ping, self()}, ping(Pong, Main, Left - 1) end.

ping_pong() ->
    Main = self(),
    Pong = spawn(fun pong/0),
    Ping = spawn(fun() -> ping(Pong, Main, ?ROUND_TRIPS) end),
    report("round trips/s", "ping-pong", ?ROUND_TRIPS, fun() -> Ping ! pong, wait(1) end),
    exit(Pong, kill).

%% counting

counter(Count) ->
    receive
        increment -> counter(Count + 1);
        {retrieve, Producer} -> Producer ! {result, Count}
    end.

produce(_, 0) -> ok;
produce(Counter, Left) -> Counter ! increment, produce(Counter, Left - 1).

producer(Counter, Main) ->
    receive produce -> ok end,
    produce(Counter, ?NUMBERS),
    Counter ! {retrieve, self()},
    receive {result, ?NUMBERS} -> Main ! arrived end.

counting() ->
    Main = self(),
    Counter = spawn(fun() -> counter(0) end),
    Producer = spawn(fun() -> producer(Counter, Main) end),
    report("messages/s", "counting", ?NUMBERS, fun() -> Producer ! produce, wait(1) end).

%% fork-join

once(Main) -> receive work -> compute(), Main ! arrived end.

create(_, 0) -> ok;
create(Main, Left) -> spawn(fun() -> once(Main) end) ! work, create(Main, Left - 1).

fork_join_create() ->
    Main = self(),
    report("actors/s", "fork-join, creation", ?CREATED, fun() -> create(Main, ?CREATED), wait(?CREATED) end).

worker(Main, 0) -> Main ! arrived;
worker(Main, Left) -> receive work -> compute(), worker(Main, Left - 1) end.

work(_, 0) -> ok;
work(Workers, Left) -> [Worker ! work || Worker <- Workers], work(Workers, Left - 1).

fork_join() ->
    Main = self(),
    Workers = [spawn(fun() -> worker(Main, ?WORK_EACH) end) || _ <- lists:seq(1, ?WORKERS)],
    report("messages/s", "fork-join, throughput", ?WORKERS * ?WORK_EACH,
           fun() -> work(Workers, ?WORK_EACH), wait(?WORKERS) end).

%% big

neighbour(Number, Main, All, Left) ->
    receive
        {meet, Everybody, Sender} -> Sender ! arrived, neighbour(Number, Main, Everybody, Left);
        {ping, Sender} -> element(Sender, All) ! pong, neighbour(Number, Main, All, Left);
        pong when Left =:= 0 -> Main ! arrived, neighbour(Number, Main, All, Left);
        pong ->
            Other = rand:uniform(?NEIGHBOURS - 1),
            element(if Other >= Number -> Other + 1; true -> Other end, All) ! {ping, Number},
            neighbour(Number, Main, All, Left - 1)
    end.

big() ->
    Main = self(),
    Everybody = [spawn(fun() -> neighbour(Number, Main, {}, ?PINGS) end) || Number <- lists:seq(1, ?NEIGHBOURS)],
    [One ! {meet, list_to_tuple(Everybody), Main} || One <- Everybody],
    wait(?NEIGHBOURS),
    report("round trips/s", "big", ?NEIGHBOURS * ?PINGS,
           fun() -> [One ! pong || One <- Everybody], wait(?NEIGHBOURS) end),
    [exit(One, kill) || One <- Everybody].

%% chameneos

complement(Colour, Colour) -> Colour;
complement(One, Other) -> hd([blue, red, yellow] -- [One, Other]).

mall(Main, _, _, ?CHAMENEOS, Met) -> Met = 2 * ?MEETINGS, Main ! arrived;
mall(Main, Left, Waiting, Faded, Met) ->
    receive
        {meet, _, Sender} when Left =:= 0 -> Sender ! fade, mall(Main, Left, Waiting, Faded, Met);
        {meet, _, Sender} when Waiting =:= none -> mall(Main, Left, Sender, Faded, Met);
        {meet, Colour, Sender} ->
            Waiting ! {meet, Colour, Sender},
            mall(Main, Left - 1, none, Faded, Met);
        {count, More} -> mall(Main, Left, Waiting, Faded + 1, Met + More)
    end.

chameneo(Mall, Colour, Met) ->
    receive
        go -> Mall ! {meet, Colour, self()}, chameneo(Mall, Colour, Met);
        {meet, Others, Other} ->
            Both = complement(Colour, Others),
            Other ! {change, Both},
            Mall ! {meet, Both, self()},
            chameneo(Mall, Both, Met + 1);
        {change, Both} -> Mall ! {meet, Both, self()}, chameneo(Mall, Both, Met + 1);
        fade -> Mall ! {count, Met}
    end.

chameneos() ->
    Main = self(),
    Mall = spawn(fun() -> mall(Main, ?MEETINGS, none, 0, 0) end),
    Everybody = [spawn(fun() -> chameneo(Mall, element(Number rem 3 + 1, {blue, red, yellow}), 0) end)
                 || Number <- lists:seq(0, ?CHAMENEOS - 1)],
    report("meetings/s", "chameneos", ?MEETINGS, fun() -> [One ! go || One <- Everybody], wait(1) end).

%% philosophers

arbitrator(Main, _, 0) -> Main ! arrived;
arbitrator(Main, Taken, Left) ->
    receive
        {hungry, Number, Sender} ->
            Right = (Number + 1) rem ?PHILOSOPHERS,
            case maps:is_key(Number, Taken) orelse maps:is_key(Right, Taken) of
                true -> Sender ! denied, arbitrator(Main, Taken, Left);
                false -> Sender ! eat, arbitrator(Main, Taken#{Number => true, Right => true}, Left)
            end;
        {done, Number} ->
            arbitrator(Main, maps:without([Number, (Number + 1) rem ?PHILOSOPHERS], Taken), Left);
        leave -> arbitrator(Main, Taken, Left - 1)
    end.

philosopher(Number, Arbitrator, Left) ->
    receive
        denied -> Arbitrator ! {hungry, Number, self()}, philosopher(Number, Arbitrator, Left);
        eat when Left =:= 1 -> Arbitrator ! {done, Number}, Arbitrator ! leave;
        eat ->
            Arbitrator ! {done, Number},
            Arbitrator ! {hungry, Number, self()},
            philosopher(Number, Arbitrator, Left - 1)
    end.

philosophers() ->
    Main = self(),
    Arbitrator = spawn(fun() -> arbitrator(Main, #{}, ?PHILOSOPHERS) end),
    Everybody = [spawn(fun() -> philosopher(Number, Arbitrator, ?MEALS) end)
                 || Number <- lists:seq(0, ?PHILOSOPHERS - 1)],
    report("meals/s", "philosophers", ?PHILOSOPHERS * ?MEALS, fun() -> [One ! denied || One <- Everybody], wait(1) end).

main(_) ->
    ping_pong(), counting(), fork_join_create(), fork_join(), big(), chameneos(), philosophers().
