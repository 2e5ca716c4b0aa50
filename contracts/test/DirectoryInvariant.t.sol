// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Directory} from "../src/Directory.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {DirectoryHandler} from "./helpers/DirectoryHandler.sol";
import {Test} from "./helpers/Test.sol";

contract DirectoryInvariantTest is Test {
    DirectoryHandler private handler;
    Directory private directory;

    function setUp() public {
        handler = new DirectoryHandler();
        directory = handler.directory();
    }

    /// @dev Read by forge: whom to call at random.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_AnAnswerAboutThePastNeverChanges() public view {
        (, uint256 count) = handler.counts();
        for (uint256 i = 0; i < count; ++i) {
            (address who, bytes32 keyId, uint64 time, bool active, bool valid) = handler.answers(i);
            isTrue(directory.wasActiveAt(who, time) == active, "membership in the past changed");
            isTrue(directory.keyValidAt(who, keyId, time) == valid, "a key's validity in the past changed");
        }
    }

    function invariant_MembershipIsWhatTheConsortiumSaid() public view {
        (uint256 count,) = handler.counts();
        uint256 admitted = 0;
        for (uint256 i = 0; i < count; ++i) {
            address who = handler.actors(i);
            isTrue(directory.isActive(who) == handler.active(who), "active");
            isTrue(directory.wasActiveAt(who, handler.clock()) == handler.active(who), "active as of now");
            isTrue((directory.memberOf(who).admittedAt != 0) == handler.admitted(who), "admitted");
            if (handler.admitted(who)) ++admitted;
        }
        equal(directory.memberCount(), admitted, "member count");
    }

    function invariant_MembershipPeriodsAreOrderedDisjointAndOnlyTheLastIsOpen() public view {
        (uint256 count,) = handler.counts();
        for (uint256 i = 0; i < count; ++i) {
            address who = handler.actors(i);
            IDirectory.Period[] memory periods = directory.periodsOf(who);
            for (uint256 j = 0; j < periods.length; ++j) {
                bool last = j + 1 == periods.length;
                if (!last) isTrue(periods[j].until <= periods[j + 1].from, "overlap");
                isTrue((periods[j].until == 0) == (last && handler.active(who)), "open");
                if (periods[j].until != 0) isTrue(periods[j].from <= periods[j].until, "order");
            }
        }
    }

    function invariant_KeysAreOnlyTheMembersOwnWithTheirPeriods() public view {
        (uint256 count,) = handler.counts();
        for (uint256 i = 0; i < count; ++i) {
            address who = handler.actors(i);
            bytes32[] memory keyIds = directory.keyIdsOf(who);
            bytes32[] memory published = handler.publishedOf(who);
            equal(keyIds.length, published.length, "key count");
            for (uint256 j = 0; j < keyIds.length; ++j) {
                IDirectory.Key memory key = directory.keyOf(who, keyIds[j]);
                equal(keyIds[j], published[j], "key id");
                equal(sha256(key.material), keyIds[j], "material");
                equal(key.from, handler.fromOf(who, keyIds[j]), "from");
                equal(key.until, handler.untilOf(who, keyIds[j]), "until");
                isTrue(key.until == 0 || key.from <= key.until, "order");
            }
        }
    }
}
